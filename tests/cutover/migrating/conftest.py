"""These bring every account of the legacy: a database and a legacy of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cutover.conftest import decided_by_legacy, migrated_database
from tests.legacy_bridge.conftest import install_reference


@pytest.fixture(scope="session")
def own_database(django_db_setup: None) -> Iterator[dict[str, str]]:
    """The environment that names a database of these tests alone, migrated."""
    yield from migrated_database("migrating")


def install_for_migrating() -> None:
    """A legacy beside that of the other tests: the ids of its rows stand for operations of this ledger."""
    install_reference()


@pytest.fixture
def legacy_only(legacy_database: Any, at_own_database: None, settings: Any) -> Iterator[Any]:
    """The adapter of the reference legacy on PostgreSQL, while the legacy decides for everybody."""
    legacy_database("postgresql", prepare=install_for_migrating)
    yield from decided_by_legacy(settings)


@pytest.fixture
def legacy(legacy_only: Any) -> Any:
    """The reference legacy, which decides."""
    return legacy_only
