"""Who decides is changed one step at a time, in one transaction, and every act is written down."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from cutover import face, routes, switching
from cutover.models import JournalEntry, MirrorMessage, Route, Stage
from cutover.switching import errors, following
from ledger.database import fetch_all, violated_constraint
from tests.cutover.conftest import STAGES
from tests.cutover.legacy_calls import call_directly, in_thread
from tests.factories import ClientFactory, EarnFactory
from tests.legacy_bridge.proxied import point_at

pytestmark = pytest.mark.usefixtures("legacy_only")

WHO: dict[str, Any] = {"actor": "kim", "reason": "It is time."}


def stage_of(cohort: str) -> tuple[str, int]:
    route = Route.objects.get(cohort=cohort)
    return route.stage, route.epoch


def last_entry(cohort: str) -> JournalEntry:
    entry = JournalEntry.objects.filter(cohort=cohort).order_by("-id").first()
    assert entry is not None
    return entry


# --- what the database allows ---------------------------------------------------------------------------
@pytest.mark.parametrize(("before", "after"), list(itertools.product(STAGES, STAGES)))
def test_the_database_allows_one_step_and_nothing_else(before: str, after: str, make_cohort: Any) -> None:
    cohort = make_cohort(before, capture=True)

    def move() -> None:
        fetch_all("UPDATE cutover_route SET stage = %s, epoch = epoch + 1 WHERE cohort = %s", [after, cohort])

    if abs(STAGES.index(before) - STAGES.index(after)) <= 1:
        move()
        assert stage_of(cohort) == (after, 2)
    else:
        with pytest.raises(IntegrityError) as refused:
            move()
        assert violated_constraint(refused.value) == "route_moves_one_step"
        assert stage_of(cohort) == (before, 1)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_leads_back_from_a_finished_cutover(stage: str, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    fetch_all(
        "UPDATE cutover_route SET finished_at = clock_timestamp(), epoch = epoch + 1 WHERE cohort = %s",
        [cohort],
    )
    with pytest.raises(IntegrityError) as refused:
        fetch_all("UPDATE cutover_route SET stage = %s, epoch = epoch + 1 WHERE cohort = %s", [stage, cohort])
    assert violated_constraint(refused.value) == "route_finished_is_final"
    with pytest.raises(errors.AlreadyFinished):
        switching.rollback(cohort=cohort, **WHO)


# --- forward and back -----------------------------------------------------------------------------------
def test_the_whole_way_there_and_back(make_cohort: Any, moved_history: Any) -> None:
    cohort = make_cohort()
    switching.capture(cohort=cohort, on=True, **WHO)
    moved_history()
    for _ in range(3):
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    assert stage_of(cohort) == ("NEW_ONLY", 5)
    for _ in range(3):
        switching.rollback(cohort=cohort, **WHO)

    assert stage_of(cohort) == ("LEGACY_ONLY", 8)
    assert Route.objects.get(cohort=cohort).capture
    told = JournalEntry.objects.filter(cohort=cohort).order_by("id")
    assert list(told.values_list("action", "from_stage", "to_stage", "epoch", "result")) == [
        ("capture_on", "LEGACY_ONLY", "LEGACY_ONLY", 2, "done"),
        ("advance", "LEGACY_ONLY", "LEGACY_FIRST", 3, "done"),
        ("advance", "LEGACY_FIRST", "NEW_FIRST", 4, "done"),
        ("advance", "NEW_FIRST", "NEW_ONLY", 5, "done"),
        ("rollback", "NEW_ONLY", "NEW_FIRST", 6, "done"),
        ("rollback", "NEW_FIRST", "LEGACY_FIRST", 7, "done"),
        ("rollback", "LEGACY_FIRST", "LEGACY_ONLY", 8, "done"),
    ]
    with pytest.raises(errors.NoSuchStep):
        switching.rollback(cohort=cohort, **WHO)
    assert last_entry(cohort).result == "refused"


def test_red_checks_refuse_a_step_forward_and_name_themselves(make_cohort: Any) -> None:
    cohort = make_cohort()
    with pytest.raises(errors.ChecksAreRed) as refused:
        switching.advance(cohort=cohort, **WHO)

    assert "capture_is_on" in [check.name for check in refused.value.red]
    assert stage_of(cohort) == ("LEGACY_ONLY", 1)
    entry = last_entry(cohort)
    assert (entry.result, entry.details["code"], entry.to_stage) == (
        "refused",
        "checks_are_red",
        "LEGACY_FIRST",
    )
    assert {check["name"] for check in entry.checks} >= {"capture_is_on", "migration_is_complete"}


def test_what_cannot_be_overridden_stays_red(make_cohort: Any) -> None:
    cohort = make_cohort(capture=True)
    with pytest.raises(errors.ChecksAreRed) as refused:
        switching.advance(cohort=cohort, overridden=("all", "delta_is_recent"), **WHO)
    assert "delta_is_recent" in [check.name for check in refused.value.red]
    assert not [check for check in refused.value.red if check.can_be_overridden]


def test_overriding_needs_a_reason(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    with pytest.raises(errors.ReasonMissing):
        switching.advance(cohort=cohort, actor="kim", reason=" ", overridden=("all",))
    assert stage_of(cohort) == ("NEW_FIRST", 1)


def test_a_way_back_says_what_it_loses_and_goes(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    (number,) = with_members(cohort, 1)
    face.execute(EarnFactory(client_id=ClientFactory().id, account_number=number, points=10))
    message = MirrorMessage.objects.get(account_number=number)
    fetch_all("UPDATE cutover_message SET state = 'parked', failure = 'poison' WHERE id = %s", [message.id])

    assert switching.status(cohort=cohort).rollback_loss == 1
    done = switching.rollback(cohort=cohort, **WHO)

    assert done.notes[0] == "1 operations of the ledger are not in the legacy."
    assert last_entry(cohort).details["rollback_loss"] == 1
    assert stage_of(cohort) == ("LEGACY_FIRST", 2)
    assert routes.is_held(number, routes.current(cohort))


def test_a_way_back_does_not_wait_for_a_legacy_that_is_away(make_cohort: Any, legacy_url: str) -> None:
    from pointsystem.settings import legacy_database as configuration

    cohort = make_cohort("NEW_FIRST")
    point_at(configuration("postgres://nobody:none@127.0.0.1:1/none"))
    done = switching.rollback(cohort=cohort, **WHO)

    assert stage_of(cohort) == ("LEGACY_FIRST", 2)
    assert "The legacy does not answer: its newest rows will be read as soon as it does." in done.notes


def test_a_step_forward_waits_for_the_legacys_newest_rows(
    make_cohort: Any, moved_history: Any, legacy_url: str
) -> None:
    from pointsystem.settings import legacy_database as configuration

    cohort = make_cohort("LEGACY_FIRST")
    moved_history()
    point_at(configuration("postgres://nobody:none@127.0.0.1:1/none"))
    with pytest.raises(errors.ChecksAreRed) as refused:
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    assert [check.name for check in refused.value.red] == ["legacy_answers"]
    with pytest.raises(errors.TailNotFollowed):
        following.follow_tail()


def test_what_came_past_the_api_before_a_switch_holds_its_account(
    make_cohort: Any, with_members: Any, moved_history: Any
) -> None:
    cohort = make_cohort("LEGACY_FIRST")
    (number,) = with_members(cohort, 1)
    moved_history()
    following.follow_tail()
    call_directly("PR_POINT_EARN", number, "11", 70, "D", None)
    switching.advance(cohort=cohort, overridden=("all",), **WHO)

    assert MirrorMessage.objects.get(account_number=number).direction == "to_ledger"
    assert routes.is_held(number, routes.current(cohort))


# --- capture --------------------------------------------------------------------------------------------
def test_capture_waits_for_what_was_given_before_and_says_what_is_not_settled(
    make_cohort: Any, with_members: Any
) -> None:
    cohort = make_cohort()
    (number,) = with_members(cohort, 1)
    fetch_all(
        "INSERT INTO cutover_intent (operation_id, account_number, sequence, stage, epoch, state, request,"
        " session, attempts, opened_at, leased_until) VALUES (gen_random_uuid(), %s, 1, 'LEGACY_ONLY', 1,"
        " 'open', '{}', 's', 1, clock_timestamp(), clock_timestamp() + interval '1 hour')",
        [number],
    )
    done = switching.capture(cohort=cohort, on=True, settled_within_seconds=0.2, **WHO)
    assert done.notes == ["1 operations that were given to the legacy before are not settled yet."]

    (older,) = [check for check in _preflight(cohort) if check.name == "older_intents_are_settled"]
    assert (older.is_green, older.number) == (False, 1)
    fetch_all("DELETE FROM cutover_intent WHERE account_number = %s", [number])
    (older,) = [check for check in _preflight(cohort) if check.name == "older_intents_are_settled"]
    assert older.is_green
    with pytest.raises(errors.NoSuchStep):
        switching.capture(cohort=cohort, on=True, **WHO)
    switching.capture(cohort=cohort, on=False, **WHO)
    assert stage_of(cohort) == ("LEGACY_ONLY", 3)


def _preflight(cohort: str) -> list[switching.Check]:
    return switching.preflight(routes.current(cohort), Stage.LEGACY_FIRST)


@pytest.mark.parametrize("stage", STAGES[1:])
def test_capture_stays_on_once_somebody_follows(stage: str, make_cohort: Any) -> None:
    cohort = make_cohort(stage)
    with pytest.raises(errors.IllegalMove, match="route_captures_after"):
        switching.capture(cohort=cohort, on=False, **WHO)
    assert stage_of(cohort) == (stage, 1)
    assert last_entry(cohort).details["code"] == "illegal_move"


def test_after_capture_was_off_the_delta_comes_first(make_cohort: Any, moved_history: Any) -> None:
    cohort = make_cohort()
    switching.capture(cohort=cohort, on=True, **WHO)
    moved_history()
    assert _is_green(cohort, "delta_is_recent")
    switching.capture(cohort=cohort, on=False, **WHO)
    switching.capture(cohort=cohort, on=True, **WHO)
    assert not _is_green(cohort, "delta_is_recent")
    moved_history()
    assert _is_green(cohort, "delta_is_recent")


def _is_green(cohort: str, name: str) -> bool:
    (found,) = [check for check in _preflight(cohort) if check.name == name]
    return found.is_green


# --- freeze ---------------------------------------------------------------------------------------------
def test_a_freeze_begins_and_ends_as_an_epoch(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    frozen = switching.freeze(cohort=cohort, minutes=5, **WHO).route
    assert (frozen.is_frozen, frozen.epoch) == (True, 2)
    assert switching.as_json(switching.status(cohort=cohort))["freeze_until"] is not None
    thawed = switching.thaw(cohort=cohort, **WHO).route
    assert (thawed.is_frozen, thawed.freeze_until, thawed.epoch) == (False, None, 3)
    with pytest.raises(errors.NotFrozen):
        switching.thaw(cohort=cohort, **WHO)


@pytest.mark.parametrize("minutes", [0, -1, 240.1, float("nan")])
def test_a_freeze_has_an_end(minutes: float, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    with pytest.raises(errors.BadFreeze):
        switching.freeze(cohort=cohort, minutes=minutes, **WHO)
    assert stage_of(cohort) == ("NEW_FIRST", 1)


def test_a_switch_under_a_freeze_that_ends_meanwhile_does_not_take_place(
    make_cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort("NEW_FIRST")
    switching.freeze(cohort=cohort, minutes=0.01, **WHO)
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.8)
    with pytest.raises(errors.FreezeEnded):
        switching.rollback(cohort=cohort, **WHO)
    assert stage_of(cohort) == ("NEW_FIRST", 2)
    # By itself it is no obstacle: it is over.
    monkeypatch.undo()
    switching.rollback(cohort=cohort, **WHO)
    assert stage_of(cohort) == ("LEGACY_FIRST", 3)


# --- the lock -------------------------------------------------------------------------------------------
def test_a_switch_gives_up_when_somebody_does_not_end(make_cohort: Any, settings: Any) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.4
    cohort = make_cohort("NEW_FIRST")
    with transaction.atomic():
        fetch_all(*routes.shared_lock(cohort))
        wait = in_thread(lambda: switching.rollback(cohort=cohort, **WHO))
        with pytest.raises(errors.NotDrained):
            wait()
    assert stage_of(cohort) == ("NEW_FIRST", 1)
    assert last_entry(cohort).details["code"] == "not_drained"
    switching.rollback(cohort=cohort, **WHO)
    assert stage_of(cohort) == ("LEGACY_FIRST", 2)


def test_a_notice_is_seen_and_ends_with_the_switch(make_cohort: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = make_cohort("NEW_FIRST")
    seen: list[bool] = []
    monkeypatch.setattr(
        "cutover.switching.moving.time.sleep",
        lambda _: seen.append(routes.current(cohort).is_in_notice),
    )
    switching.rollback(cohort=cohort, **WHO)
    assert seen == [True]
    assert not routes.current(cohort).is_in_notice


def test_whoever_saw_an_older_epoch_is_told_who_was_first(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    switching.freeze(cohort=cohort, actor="lee", reason="maintenance")
    with pytest.raises(errors.RouteChanged, match=r"lee was first: freeze, now epoch 2\."):
        switching.rollback(cohort=cohort, expected_epoch=1, **WHO)
    assert stage_of(cohort) == ("NEW_FIRST", 2)
    assert last_entry(cohort).actor == "kim"


def test_nobody_acts_on_a_cohort_that_is_not(legacy_only: Any) -> None:
    with pytest.raises(errors.UnknownCohort):
        switching.rollback(cohort="nobody", **WHO)
    with pytest.raises(errors.UnknownCohort):
        switching.status(cohort="nobody")


def test_the_journal_is_never_changed(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    switching.rollback(cohort=cohort, **WHO)
    for statement in (
        "UPDATE cutover_journal SET reason = 'another' WHERE cohort = %s",
        "DELETE FROM cutover_journal WHERE cohort = %s",
    ):
        with pytest.raises(Exception, match=r"permission denied|journal_is_insert_only"):
            fetch_all(statement, [cohort])
    assert last_entry(cohort).reason == "It is time."
