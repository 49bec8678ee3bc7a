"""Imports stay inside the fixtures: this file is read before Django is set up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    from tests.ledger.member import Member

PASSWORD = "a long passphrase 1"


@pytest.fixture(autouse=True)
def quick_passwords(settings: Any) -> None:
    """How slow passwords are hashed is Django's affair: here it would only take a second each."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def noon(db: None, settings: Any) -> datetime:
    """The simulated clock, standing at noon in Seoul on 1 March 2026."""
    from ledger import clock
    from tests.ledger.member import NOON

    settings.POINTS_CLOCK = "simulated"
    clock.set_simulated(instant=NOON)
    return NOON


@pytest.fixture
def member(noon: datetime) -> Member:
    from tests.ledger.member import Member

    return Member()


@pytest.fixture
def person(db: None) -> Callable[..., User]:
    """Makes a person of staff: `person("operator")` has that role, `person()` none."""
    from django.contrib.auth.models import Group, User

    def make(role: str | None = None, *, username: str | None = None, **values: Any) -> User:
        name = username or f"{role or 'nobody'}-{User.objects.count()}".replace(" ", "-")
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True, **values)
        if role is not None:
            user.groups.add(Group.objects.get(name=role))
        return user

    return make


@pytest.fixture
def sign_in() -> Callable[[User], Browser]:
    """A browser in which that person is signed in."""
    from django.test import Client as Browser

    def signed_in(user: User) -> Browser:
        browser = Browser()
        browser.force_login(user)
        return browser

    return signed_in
