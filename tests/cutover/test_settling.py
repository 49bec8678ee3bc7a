"""What becomes of operations whose answer got lost, and of those who try again, wait, or come too late."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from cutover import face, intents, settling
from cutover.models import Intent
from ledger import errors
from ledger.models import Operation
from legacy_bridge import errors as bridge
from legacy_bridge import giving
from legacy_bridge.dialects import RaisedError
from legacy_bridge.records import NotApplied
from tests.cutover.conftest import begin_epoch, set_stage
from tests.cutover.legacy_calls import (
    Killed,
    call_directly,
    in_thread,
    instead_of_next_give,
    lose_answer,
    rows_of,
)
from tests.factories import ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture(autouse=True)
def short_waits(settings: Any) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.1


@pytest.fixture
def mine(legacy_only: Any) -> dict[str, Any]:
    """A client and an account with 100 points."""
    given = {"client_id": ClientFactory().id, "account_number": account_number()}
    face.execute(EarnFactory(**given, points=100))
    return given


def lost(monkeypatch: pytest.MonkeyPatch, spend: Any, *, done: bool) -> None:
    lose_answer(monkeypatch, done=done)
    with pytest.raises(errors.OutcomeUnknown) as unknown:
        face.execute(spend)
    assert unknown.value.operation_id == spend.operation_id


def state_of(command: Any) -> tuple[str, str, int]:
    intent = Intent.objects.get(operation_id=command.operation_id)
    return Operation.objects.get(id=command.operation_id).state, intent.state, intent.attempts


def make_due(command: Any) -> None:
    """The lease of whoever is at work on `command` has ended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE cutover_intent SET leased_until = clock_timestamp() - interval '1 second'"
            " WHERE operation_id = %s",
            [command.operation_id],
        )


def spends_of(given: dict[str, Any]) -> list[tuple[str, int, str | None]]:
    return rows_of(given["account_number"])[1:]


# --- asked, and found out -----------------------------------------------------------------------------------
def test_what_was_done_is_found_and_not_done_again(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=True)
    assert state_of(spend) == ("pending", "open", 1)
    with pytest.raises(errors.OperationInProgress):
        face.execute(spend)

    settling.settle_due()

    assert state_of(spend) == ("completed", "done", 1)
    again = face.execute(spend)
    assert (again.is_replayed, again.operation.balance_after) == (True, 70)
    assert again.operation.lots is not None
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_what_was_not_done_is_given_again_under_its_id(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=False)

    settling.settle_due()

    assert state_of(spend) == ("completed", "done", 2)
    assert face.execute(spend).is_replayed
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_what_is_given_again_may_be_refused(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spend = SpendFactory(**mine, points=80)
    lost(monkeypatch, spend, done=False)
    call_directly("PR_POINT_USE", mine["account_number"], "21", 50)

    settling.settle_due()

    assert state_of(spend) == ("failed", "refused", 2)
    with pytest.raises(errors.InsufficientPoints) as refused:
        face.execute(spend)
    assert (refused.value.is_replayed, refused.value.operation_id) == (True, spend.operation_id)
    assert spends_of(mine) == [("US", -50, None)]


def test_what_is_lost_again_when_given_again_is_settled_later(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=False)
    lose_answer(monkeypatch, done=True)
    settling.settle_due()
    assert state_of(spend) == ("pending", "open", 2)

    make_due(spend)
    settling.settle_due()

    assert state_of(spend) == ("completed", "done", 2)
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_what_the_legacy_cannot_tell_is_left_to_a_person(
    mine: dict[str, Any], legacy_only: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=True)
    with monkeypatch.context() as patch:
        patch.setattr(type(legacy_only), "find_by_operation_id", lambda *_, **__: "garbage")
        settling.settle_due()

    assert state_of(spend) == ("in_doubt", "in_doubt", 1)
    make_due(spend)
    settling.settle_due()
    assert state_of(spend) == ("in_doubt", "in_doubt", 1)
    with pytest.raises(errors.OperationInProgress):
        face.execute(spend)
    # The account itself goes on.
    assert face.execute(SpendFactory(**mine, points=1)).operation.balance_after == 69
    assert len(spends_of(mine)) == 2


def test_an_error_that_comes_every_time_is_left_to_a_person(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=False)
    raised = RaisedError(sqlstate="P0001", number=None, message="table PT_TYPE is broken")

    def fails(*_: Any) -> None:
        raise raised

    for _ in range(settling._MOST_ATTEMPTS - 1):
        assert state_of(spend)[:2] == ("pending", "open")
        instead_of_next_give(monkeypatch, fails)
        settling.settle_due()
        make_due(spend)

    assert state_of(spend) == ("in_doubt", "in_doubt", settling._MOST_ATTEMPTS)
    assert "PT_TYPE" in Intent.objects.get(operation_id=spend.operation_id).last_error
    assert spends_of(mine) == []


def test_one_that_cannot_be_settled_stops_no_other(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = SpendFactory(**mine, points=30), EarnFactory(client_id=mine["client_id"])
    lost(monkeypatch, first, done=True)
    lost(monkeypatch, second, done=True)
    real = giving.settle

    def settle(adapter: Any, session: Any, request: Any, **more: Any) -> Any:
        if request.operation_id == first.operation_id:
            raise RuntimeError("nobody thought of this")
        return real(adapter, session, request, **more)

    monkeypatch.setattr(giving, "settle", settle)
    settling.settle_due()

    assert state_of(first) == ("pending", "open", 1)
    assert "nobody thought" in Intent.objects.get(operation_id=first.operation_id).last_error
    assert state_of(second) == ("completed", "done", 1)


def test_a_legacy_that_is_away_is_not_asked_for_every_operation(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost_ones = [EarnFactory(client_id=mine["client_id"]) for _ in range(6)]
    for earn in lost_ones:
        lost(monkeypatch, earn, done=False)
    asked = []

    def away(*arguments: Any, **_: Any) -> None:
        asked.append(arguments)
        raise bridge.NotDone("The legacy does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "settle", away)
        assert settling.settle_due() == 0
    assert len(asked) == 3
    for earn in lost_ones:
        make_due(earn)
    settling.settle_due()
    assert {state_of(earn) for earn in lost_ones} == {("completed", "done", 2)}


# --- certainly not done -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (bridge.NotDone("The legacy does not answer."), errors.PrimaryUnavailable),
        (bridge.Busy("A lock was not to be had."), errors.AccountBusy),
        (bridge.NotRepresentable("There is no form for it."), errors.NotAvailableInStage),
    ],
    ids=["not-done", "busy", "not-representable"],
)
def test_what_was_certainly_not_done_was_not_asked_for(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, error: Exception, refusal: type[errors.Refusal]
) -> None:
    spend = SpendFactory(**mine, points=30)
    lose_answer(monkeypatch, done=False, error=error)

    with pytest.raises(refusal):
        face.execute(spend)

    assert not Operation.objects.filter(id=spend.operation_id).exists()
    assert not Intent.objects.filter(operation_id=spend.operation_id).exists()
    # The key is free, for another request too.
    assert face.execute(replace(spend, points=31)).operation.balance_after == 69


def test_an_outcome_that_our_own_database_did_not_take_is_found_out(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    spend = SpendFactory(**mine, points=30)

    def unavailable(**_: Any) -> None:
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(intents, "complete", unavailable)
        with pytest.raises(errors.OutcomeUnknown):
            face.execute(spend)
    settling.settle_due()

    assert state_of(spend) == ("completed", "done", 1)
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


# --- one at a time ------------------------------------------------------------------------------------------
def test_an_open_intent_makes_others_of_its_account_wait_and_then_give_up(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lost(monkeypatch, SpendFactory(**mine, points=30), done=False)
    started = time.monotonic()

    with pytest.raises(errors.AccountBusy):
        face.execute(SpendFactory(**mine, points=1))

    assert time.monotonic() - started >= 0.08
    assert spends_of(mine) == []
    assert face.execute(EarnFactory(client_id=mine["client_id"])).operation.state == "completed"


def test_who_waits_for_another_operation_goes_on_when_it_ends(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 5
    is_given, may_end = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        is_given.set()
        assert may_end.wait(10)
        return give(*arguments)

    give = instead_of_next_give(monkeypatch, slow)
    first = in_thread(lambda: face.execute(SpendFactory(**mine, points=30)))
    assert is_given.wait(10)
    second = in_thread(lambda: face.execute(SpendFactory(**mine, points=20)))
    time.sleep(0.1)
    may_end.set()

    assert (first().operation.balance_after, second().operation.balance_after) == (70, 50)


def test_a_lease_keeps_the_recoverer_away(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spend = SpendFactory(**mine, points=30)
    lose_answer(monkeypatch, done=True, error=Killed())
    with pytest.raises(Killed):
        face.execute(spend)

    settling.settle_due()
    assert state_of(spend) == ("pending", "open", 1)
    make_due(spend)
    settling.settle_due()

    assert state_of(spend) == ("completed", "done", 1)
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_of_two_recoverers_one_gives_it_again(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The first was stopped for longer than its lease between asking and giving."""
    spend = SpendFactory(**mine, points=30)
    lost(monkeypatch, spend, done=False)
    (stopped,) = [
        due for due in intents.claim_due(limit=100) if due.request.operation_id == spend.operation_id
    ]
    make_due(spend)
    settling.settle_due()
    assert state_of(spend) == ("completed", "done", 2)

    with monkeypatch.context() as patch:
        patch.setattr(giving, "settle", lambda *_, **__: NotApplied())
        patch.setattr(giving, "give", lambda *_: pytest.fail("it was given a third time"))
        assert settling._try_to_settle(stopped) is False

    assert state_of(spend) == ("completed", "done", 2)
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_recoverers_side_by_side_share_the_work(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = [EarnFactory(client_id=mine["client_id"], points=7) for _ in range(6)]
    for number, earn in enumerate(commands):
        lost(monkeypatch, earn, done=bool(number % 2))

    for wait in [in_thread(settling.settle_due) for _ in range(3)]:
        wait()

    assert {state_of(earn)[:2] for earn in commands} == {("completed", "done")}
    for earn in commands:
        assert rows_of(earn.account_number) == [("SV", 7, str(earn.operation_id))]


@pytest.mark.parametrize("late", ["with-a-decision", "with-a-refusal", "not-done"])
def test_who_comes_back_after_the_recoverer_has_no_say(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """The opener was stopped for longer than its lease: the operation is ended, and keeps its outcome."""
    spend = SpendFactory(**mine, points=30)

    def stopped(*arguments: Any) -> Any:
        decision = give(*arguments) if late == "with-a-decision" else None
        make_due(spend)
        in_thread(settling.settle_due)()
        if late == "with-a-refusal":
            raise bridge.Refused(bridge.RefusedFact.INSUFFICIENT_POINTS, "not enough")
        if late == "not-done":
            raise bridge.NotDone("Rolled back, as the session was ended.")
        return decision

    give = instead_of_next_give(monkeypatch, stopped)
    outcome = face.execute(spend)

    assert (outcome.operation.id, outcome.operation.state) == (spend.operation_id, "completed")
    assert state_of(spend) == ("completed", "done", 1 if late == "with-a-decision" else 2)
    assert spends_of(mine) == [("US", -30, str(spend.operation_id))]


def test_what_is_settled_stays_settled(mine: dict[str, Any], legacy_only: Any) -> None:
    spend = SpendFactory(**mine, points=30)
    operation = face.execute(spend).operation
    decision = giving.Decision(row_id="1", points=30, recorded_at=operation.recorded_at, balance_after=1)

    for end in (
        lambda: intents.complete(operation_id=spend.operation_id, decision=decision, by="x", attempt=1),
        lambda: intents.complete(operation_id=spend.operation_id, decision=decision, by="x", attempt=None),
        lambda: intents.refuse(operation_id=spend.operation_id, refusal={}, by="x", attempt=1),
        lambda: intents.forget(operation_id=spend.operation_id, attempt=1),
        lambda: intents.doubt(operation_id=spend.operation_id, why="x", evidence={}, attempt=1),
        lambda: intents.begin_again(operation_id=spend.operation_id, session="x", bookmark=None, attempt=1),
    ):
        with pytest.raises(intents.TakenOver):
            end()
    make_due_raises = Intent.objects.get(operation_id=spend.operation_id)

    assert (make_due_raises.state, make_due_raises.settled_by) == ("done", "call")
    assert face.execute(spend).operation == operation


# --- the route ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("stage", ["NEW_ONLY", "LEGACY_ONLY"])
def test_a_route_that_changed_meanwhile_is_read_anew(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    real, epochs = intents.open_intent, []

    def changed_before(*arguments: Any, route: Any, **more: Any) -> None:
        epochs.append(route.epoch)
        if len(epochs) == 1:
            in_thread(begin_epoch if stage == "LEGACY_ONLY" else lambda: set_stage(stage))()
        real(*arguments, route=route, **more)

    monkeypatch.setattr(intents, "open_intent", changed_before)
    earn = EarnFactory(**mine, points=5)
    outcome = face.execute(earn)

    by_legacy = stage == "LEGACY_ONLY"
    operation = Operation.objects.get(id=earn.operation_id)
    assert (outcome.operation.state, operation.decided_elsewhere) == ("completed", by_legacy)
    assert spends_of(mine) == ([("SV", 5, str(earn.operation_id))] if by_legacy else [])
    if by_legacy:
        assert epochs[1] == epochs[0] + 1 == Intent.objects.get(operation_id=earn.operation_id).epoch
