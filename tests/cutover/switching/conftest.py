"""Routes to switch, in a database of their own: a cohort stays once it is made, a finished one for good."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cutover.conftest import migrated_database
from tests.legacy_bridge.conftest import install_reference

#: Makes a cohort in a stage; its name.
MakeCohort = Callable[..., str]


@pytest.fixture(scope="session")
def own_database(django_db_setup: None) -> Iterator[dict[str, str]]:
    """The environment that names a database of these tests alone, migrated."""
    yield from migrated_database("switching")


def install_for_switching() -> None:
    """A legacy beside that of the other tests: the ids of its rows stand for operations of this ledger."""
    install_reference()


@pytest.fixture
def legacy_url(legacy_database: Any) -> str:
    return str(legacy_database("postgresql", prepare=install_for_switching))


@pytest.fixture
def legacy_only(legacy_url: str, at_own_database: None, settings: Any) -> Iterator[Any]:
    """The adapter of the reference legacy on PostgreSQL."""
    from cutover import routes
    from cutover.switching import machines
    from legacy_bridge import configured

    settings.HAS_LEGACY = True
    settings.LEGACY_ADAPTER = "legacy_bridge.reference.ReferenceAdapter"
    configured.adapter.cache_clear()
    machines.forget_workers()
    routes.current()
    yield configured.adapter()
    routes.forget_hints()
    configured.adapter.cache_clear()


@pytest.fixture
def make_cohort(legacy_only: Any) -> MakeCohort:
    from cutover import routes
    from ledger.database import fetch_all

    def make(stage: str = "LEGACY_ONLY", *, capture: bool | None = None) -> str:
        cohort = f"c{secrets.token_hex(4)}"
        fetch_all(
            "INSERT INTO cutover_route (cohort, stage, epoch, capture, changed_at)"
            " VALUES (%s, %s, 1, %s, clock_timestamp())",
            [cohort, stage, stage != "LEGACY_ONLY" if capture is None else capture],
        )
        routes.forget_hints()
        return cohort

    return make


@pytest.fixture
def with_members(make_cohort: MakeCohort) -> Callable[[str, int], list[str]]:
    """So many accounts that nobody knows yet, of a cohort."""
    from ledger.database import fetch_all
    from tests.factories import account_number

    def add(cohort: str, count: int) -> list[str]:
        numbers = [account_number() for _ in range(count)]
        fetch_all(
            "INSERT INTO cutover_member (account_number, cohort, assigned_at)"
            " SELECT number, %s, clock_timestamp() FROM unnest(%s::text[]) AS number",
            [cohort, numbers],
        )
        return numbers

    return add


@pytest.fixture
def moved_history() -> Callable[[], None]:
    """Says that the whole history was moved, and both sides compared, now."""
    from cutover.models import RunKind
    from ledger.database import fetch_all

    def move() -> None:
        for kind in (RunKind.MIGRATION, RunKind.VERIFICATION):
            fetch_all(
                "INSERT INTO cutover_run (kind, parameters, accounts_total, accounts_done, counts,"
                " started_at, changed_at, finished_at)"
                " SELECT %s, '{}', 7, 7, '{}', now, now, now FROM clock_timestamp() AS now",
                [kind.value],
            )

    return move


@pytest.fixture
def browser(legacy_only: Any) -> Callable[..., Any]:
    """A browser in which a person of that role is signed in."""
    import secrets

    from django.contrib.auth.models import Group, User
    from django.test import Client as Browser

    def signed_in(role: str, name: str | None = None) -> Any:
        user = User.objects.create_user(name or f"{role}-{secrets.token_hex(4)}", is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        opened = Browser()
        opened.force_login(user)
        opened.username = user.username
        return opened

    return signed_in


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of the session may have started some at the same broker."""
    from cutover.switching import machines

    monkeypatch.setattr(machines, "_count_workers", lambda: 0)
