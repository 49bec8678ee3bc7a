"""Accounts go from one cohort to another like a stage is switched, a batch at a time."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import face, routes, switching
from cutover.models import JournalEntry, Member, Route, Run
from cutover.switching import Choice, assigning, errors
from ledger.database import fetch_all
from tests.factories import ClientFactory, EarnFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")

WHO: dict[str, Any] = {"actor": "kim", "reason": "A first few."}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(assigning, "ACCOUNTS_AT_ONCE", 10)


def members(cohort: str) -> set[str]:
    return set(Member.objects.filter(cohort=cohort).values_list("account_number", flat=True))


def known_to_ledger(cohort: str, with_members: Any, count: int) -> list[str]:
    numbers: list[str] = with_members(cohort, count)
    fetch_all("INSERT INTO cutover_followed_account (account_number) SELECT unnest(%s::text[])", [numbers])
    return numbers


def test_named_accounts_go_to_a_cohort_that_is_made_for_them(make_cohort: Any, with_members: Any) -> None:
    source = make_cohort("LEGACY_FIRST")
    numbers = with_members(source, 25)
    to = f"{source}-first"
    told = switching.assign(cohort=source, to=to, choice=Choice(accounts=(*numbers[:23], "stranger")), **WHO)

    assert (told.moved, told.not_of_source) == (23, 1)
    assert members(to) == set(numbers[:23])
    assert members(source) == set(numbers[23:])
    made = Route.objects.get(cohort=to)
    assert (made.stage, made.capture) == ("LEGACY_FIRST", True)
    entries = JournalEntry.objects.filter(cohort=to, result="done").order_by("id")
    assert [entry.details["accounts"] for entry in entries] == [10, 10, 3]
    assert [entry.epoch for entry in entries] == [3, 4, 5] == list(range(3, made.epoch + 1))
    assert Route.objects.get(cohort=source).epoch == 4
    again = switching.assign(cohort=source, to=to, choice=Choice(accounts=tuple(numbers[:23])), **WHO)
    assert again.moved == 0


def test_a_larger_percentage_takes_the_accounts_of_the_smaller(make_cohort: Any, with_members: Any) -> None:
    source = make_cohort("NEW_FIRST")
    numbers = known_to_ledger(source, with_members, 200)
    to = f"{source}-some"
    first = switching.assign(cohort=source, to=to, choice=Choice(percent=20), **WHO)
    few = members(to)
    switching.assign(cohort=source, to=to, choice=Choice(percent=60), **WHO)
    more = members(to)

    assert first.moved == len(few)
    assert 20 <= len(few) <= 60
    assert 90 <= len(more) <= 150
    assert few < more <= set(numbers)
    switching.assign(cohort=source, to=to, choice=Choice(percent=100), **WHO)
    assert members(to) == set(numbers)


def test_accounts_come_back_to_the_default_cohort(make_cohort: Any, with_members: Any) -> None:
    to = f"{make_cohort('LEGACY_ONLY')}-x"
    number = account_number()
    switching.assign(cohort="default", to=to, choice=Choice(accounts=(number,)), **WHO)
    assert members(to) == {number}
    switching.assign(cohort=to, to="default", choice=Choice(accounts=(number,)), **WHO)
    assert members(to) == set()
    assert routes.of_account(number).cohort == "default"


def test_accounts_go_on_to_a_later_stage_and_are_held_like_at_a_switch(
    make_cohort: Any, with_members: Any, moved_history: Any
) -> None:
    source, to = make_cohort("LEGACY_FIRST"), make_cohort("NEW_FIRST")
    moved_history()
    owing, free = with_members(source, 2)
    client_id = ClientFactory().id
    face.execute(EarnFactory(client_id=client_id, account_number=owing, points=10))
    choice = Choice(accounts=(owing, free))
    switching.assign(cohort=source, to=to, choice=choice, overridden=("all",), **WHO)

    route = routes.current(to)
    assert (routes.is_held(owing, route), routes.is_held(free, route)) == (True, False)
    assert face.execute(EarnFactory(client_id=client_id, account_number=free, points=5)).operation.state == (
        "completed"
    )
    assert fetch_all("SELECT stage FROM ledger_operation WHERE account_number = %s", [free]) == [
        ("NEW_FIRST",)
    ]


def test_an_assignment_forward_is_checked_like_a_step(make_cohort: Any, with_members: Any) -> None:
    source, to = make_cohort("LEGACY_ONLY", capture=True), make_cohort("LEGACY_FIRST")
    numbers = with_members(source, 1)
    with pytest.raises(errors.ChecksAreRed):
        switching.assign(cohort=source, to=to, choice=Choice(accounts=tuple(numbers)), **WHO)
    assert members(source) == set(numbers)
    assert JournalEntry.objects.get(cohort=source).result == "refused"


@pytest.mark.parametrize(
    ("source", "to", "capture", "words"),
    [
        ("LEGACY_ONLY", "NEW_FIRST", True, "more than one step"),
        ("LEGACY_FIRST", "NEW_ONLY", True, "more than one step"),
        ("LEGACY_ONLY", "LEGACY_FIRST", False, "not captured"),
        ("LEGACY_FIRST", "LEGACY_ONLY", False, "not captured"),
    ],
)
def test_what_a_switch_may_not_do_an_assignment_may_not(
    source: str, to: str, capture: bool, words: str, make_cohort: Any, with_members: Any
) -> None:
    cohorts = [
        make_cohort(stage, capture=capture if stage == "LEGACY_ONLY" else None) for stage in (source, to)
    ]
    numbers = with_members(cohorts[0], 1)
    with pytest.raises(errors.BadAssignment, match=words):
        switching.assign(cohort=cohorts[0], to=cohorts[1], choice=Choice(accounts=tuple(numbers)), **WHO)
    assert members(cohorts[1]) == set()


def test_nobody_leaves_a_freeze_by_an_assignment(make_cohort: Any, with_members: Any) -> None:
    source, to = make_cohort("NEW_FIRST"), make_cohort("NEW_FIRST")
    numbers = with_members(source, 1)
    switching.freeze(cohort=source, settled_within_seconds=0, **WHO)
    with pytest.raises(errors.BadAssignment, match="frozen"):
        switching.assign(cohort=source, to=to, choice=Choice(accounts=tuple(numbers)), **WHO)
    assert members(source) == set(numbers)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"accounts": ()},
        {"accounts": ("",)},
        {"accounts": ("x" * 65,)},
        {"percent": 0},
        {"percent": 101},
        {"percent": float("nan")},
        {"accounts": ("a",), "percent": 1},
    ],
)
def test_a_choice_that_is_none_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(errors.BadAssignment):
        Choice(**given)


@pytest.mark.parametrize("name", ["", "Upper", "-x", "x y", "x" * 65, "x;"])
def test_a_cohort_has_a_plain_name(name: str, make_cohort: Any) -> None:
    with pytest.raises(errors.BadAssignment):
        switching.assign(cohort=make_cohort(), to=name, choice=Choice(accounts=("a",)), **WHO)


def test_an_assignment_that_was_stopped_goes_on_where_it_was(
    make_cohort: Any, with_members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_cohort("NEW_FIRST")
    numbers = with_members(source, 25)
    choice = Choice(accounts=tuple(numbers))
    to = f"{source}-b"

    class Stopped(Exception):
        pass

    def stop(told: Any) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        switching.assign(cohort=source, to=to, choice=choice, on_batch=stop, **WHO)
    assert members(to) == set(sorted(numbers)[:10])
    (run,) = Run.objects.filter(kind="assignment", finished_at__isnull=True)
    assert (run.cursor, run.accounts_done, run.accounts_total) == (sorted(numbers)[9], 10, 25)

    told = switching.assign(cohort=source, to=to, choice=choice, **WHO)
    assert told.moved == 15
    assert members(to) == set(numbers)
    run.refresh_from_db()
    assert (run.accounts_done, run.last_error, run.finished_at is None) == (25, "", False)
