"""Imports stay inside the fixtures: this file is read before Django is set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    from tests.ledger.member import Member


@pytest.fixture
def member(db: None) -> Member:
    from tests.ledger.member import Member

    return Member()


@pytest.fixture
def person(db: None) -> Callable[..., User]:
    """Makes a person with a role."""
    from tests.backoffice.support.people import make_person

    return make_person


@pytest.fixture
def supporter(person: Callable[..., User]) -> User:
    return person("support")


@pytest.fixture
def lead(person: Callable[..., User]) -> User:
    return person("support lead")


@pytest.fixture
def browse(db: None) -> Callable[[Any], Browser]:
    """A browser in which a person is signed in."""
    from tests.backoffice.support.people import signed_in

    return signed_in
