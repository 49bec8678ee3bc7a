"""The ledger decides, and the legacy is told: in order, once, over the same lots."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cutover import face
from cutover.mirroring import messages, to_legacy, worker
from cutover.models import Direction, LotAlias
from ledger import clock
from ledger.database import fetch_all
from ledger.models import Operation
from legacy_bridge import errors, giving
from tests.cutover import sides
from tests.cutover.conftest import set_stage
from tests.cutover.legacy_calls import (
    Killed,
    call_directly,
    instead_of_next_give,
    lose_answer,
    rows_of,
)
from tests.cutover.mirroring.telling import (
    differences_of,
    make_due,
    message_of,
    states_of,
    tell,
)
from tests.factories import CancelFactory, EarnFactory, SpendFactory, account_number


def test_what_the_ledger_decides_is_done_by_the_legacy_over_the_same_lots(mine: dict[str, Any]) -> None:
    number, client = mine["account_number"], mine["client_id"]
    face.execute(EarnFactory(**mine, points=100))
    soon = face.execute(EarnFactory(**mine, points=50, expires_at=clock.now() + timedelta(days=2))).operation
    spend = face.execute(SpendFactory(**mine, points=120)).operation
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id, points=30))
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id))
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=soon.id, points=10))

    assert tell(number) == 6

    kinds = [(kind, points) for kind, points, _ in rows_of(number)]
    assert kinds == [("SV", 100), ("SV", 50), ("US", -120), ("UC", 30), ("UC", 90), ("SC", -10)]
    assert states_of(number) == ["applied"] * 6
    assert sum(sides.of_ledger(number).values()) == 140
    sides.assert_equal(number)
    assert differences_of(number) == []


def test_each_operation_is_given_the_row_that_it_became(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    spend = face.execute(SpendFactory(**mine, points=40)).operation
    tell(number)

    assert [request for _, _, request in rows_of(number)] == [str(earn.id), str(spend.id)]
    assert Operation.objects.filter(id__in=[earn.id, spend.id], counterpart_id=None).count() == 0
    assert earn.lots is not None
    assert LotAlias.objects.filter(lot_id=earn.lots[0].lot).count() == 1


def test_nothing_is_told_again(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=100))

    assert (tell(number), tell(number)) == (1, 0)

    assert [points for _, points, _ in rows_of(number)] == [100]


def test_a_worker_drains_what_waits_on_many_accounts(mine: dict[str, Any]) -> None:
    numbers = [account_number() for _ in range(120)]
    for number in numbers:
        face.execute(EarnFactory(client_id=mine["client_id"], account_number=number, points=10))
        face.execute(SpendFactory(client_id=mine["client_id"], account_number=number, points=3))

    assert worker.run() >= 240

    for number in numbers:
        assert states_of(number) == ["applied"] * 2
        sides.assert_equal(number)


# --- what does not come back --------------------------------------------------------------------------------
def test_a_lost_answer_of_what_was_done_is_found_and_not_told_again(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    lose_answer(monkeypatch, done=True)
    assert tell(number) == 0
    assert (message_of(earn.id).state, message_of(earn.id).failure) == ("waiting", "transient")
    assert message_of(earn.id).session != ""
    assert message_of(earn.id).payload["points"] == 100
    make_due(number)

    assert tell(number) == 1

    assert [points for _, points, _ in rows_of(number)] == [100]
    assert message_of(earn.id).note == "It was there already."
    sides.assert_equal(number)


def test_a_lost_answer_of_what_was_not_done_is_told_again(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=100))
    face.execute(SpendFactory(**mine, points=30))
    lose_answer(monkeypatch, done=False)
    assert tell(number) == 0
    assert rows_of(number) == []
    make_due(number)

    assert tell(number) == 2

    sides.assert_equal(number)


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_a_worker_that_dies_over_a_call_leaves_it_to_the_next(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    face.execute(CancelFactory(client_id=mine["client_id"], cancelled_operation_id=earn.id, points=40))
    lose_answer(monkeypatch, done=done, error=Killed())
    monkeypatch.setattr(to_legacy._Round, "end", lambda *_: None)
    monkeypatch.setattr(to_legacy.attempts, "take_back", lambda *_, **__: None)
    with pytest.raises(Killed):
        tell(number)
    monkeypatch.undo()
    make_due(number)

    assert tell(number) == 2

    assert [(kind, points) for kind, points, _ in rows_of(number)] == [("SV", 100), ("SC", -40)]
    sides.assert_equal(number)


def test_a_worker_that_was_stopped_changes_nothing_of_what_another_took_up(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation

    def meanwhile(*arguments: Any) -> Any:
        decision = give(*arguments)
        fetch_all("UPDATE cutover_message SET session = 'another' WHERE operation_id = %s", [earn.id])
        return decision

    give = instead_of_next_give(monkeypatch, meanwhile)

    assert tell(number) == 0

    assert (message_of(earn.id).state, message_of(earn.id).session) == ("waiting", "another")
    assert Operation.objects.get(id=earn.id).counterpart_id is None


def test_accounts_whose_calls_fail_by_themselves_stop_no_other(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [account_number() for _ in range(3)]
    for number in (mine["account_number"], *others):
        face.execute(EarnFactory(client_id=mine["client_id"], account_number=number, points=10))
    lose_answer(monkeypatch, done=False)

    assert to_legacy.tell([mine["account_number"], *others]) == 3

    states = [states_of(number) for number in (mine["account_number"], *others)]
    assert sorted(states) == [["applied"]] * 3 + [["waiting"]]


def test_a_legacy_that_is_away_ends_the_round_and_loses_nothing(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [account_number() for _ in range(6)]
    for number in numbers:
        face.execute(EarnFactory(client_id=mine["client_id"], account_number=number, points=10))

    def away(*_: Any) -> Any:
        raise errors.NotDone("The legacy does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", away)
        with pytest.raises(errors.NotDone):
            to_legacy.tell(numbers)
    assert [states_of(number) for number in numbers] == [["waiting"]] * 6
    for number in numbers:
        make_due(number)

    assert to_legacy.tell(numbers) == 6

    for number in numbers:
        sides.assert_equal(number)


# --- what the legacy does not do ----------------------------------------------------------------------------
def test_what_the_legacy_refuses_is_parked_with_its_account_and_told_to_a_person(
    mine: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=100))
    tell(number)
    # Somebody took points through a procedure, and nobody has seen it yet.
    call_directly("PR_POINT_USE", number, "21", 90)
    spend = face.execute(SpendFactory(**mine, points=50)).operation
    earn = face.execute(EarnFactory(**mine, points=5)).operation

    assert tell(number) == 0

    parked = message_of(spend.id)
    assert (parked.state, parked.failure, parked.session) == ("parked", "divergence", "")
    assert "insufficient_points" in parked.last_error
    assert (parked.payload["kind"], parked.payload["points"]) == ("spend", 50)
    assert message_of(earn.id).state == "waiting"
    assert differences_of(number) == [("real", f"operation:{spend.id}", False)]
    assert tell(number) == 0
    assert [points for _, points, _ in rows_of(number)] == [100, -90]


def test_what_the_legacy_has_no_form_for_is_parked_as_poison(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation

    def refuses(*_: Any) -> Any:
        raise errors.NotRepresentable("The legacy has no code for the reason.")

    instead_of_next_give(monkeypatch, refuses)
    assert tell(number) == 0

    assert (message_of(earn.id).state, message_of(earn.id).failure) == ("parked", "poison")
    assert message_of(earn.id).session == ""


def test_lots_that_the_legacy_took_otherwise_are_recorded(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    first = face.execute(EarnFactory(**mine, points=100)).operation
    second = face.execute(EarnFactory(**mine, points=100)).operation
    tell(number)
    assert first.lots is not None
    assert second.lots is not None
    # As if it had been earned the other way round there.
    from legacy_bridge import sessions

    with sessions.session() as session:
        session.query(
            "UPDATE legacy.PT_LOT SET SAVE_DTM = SAVE_DTM + interval '1 hour' WHERE LOT_SEQ = ("
            "SELECT min(LOT_SEQ) FROM legacy.PT_LOT WHERE MBR_NO = %s)",
            [number],
        )
    spend = face.execute(SpendFactory(**mine, points=10)).operation

    assert tell(number) == 1

    assert differences_of(number) == [("order", f"operation:{spend.id}", False)]


def test_a_procedure_that_fails_every_time_waits_for_a_person(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from legacy_bridge.dialects import RaisedError

    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation

    def fails(*_: Any) -> Any:
        raise RaisedError(sqlstate="22012", number=0, message="division by zero")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", fails)
        for _ in range(5):
            tell(number)
            assert message_of(earn.id).state == "waiting"
            make_due(number)
        tell(number)

    assert (message_of(earn.id).state, message_of(earn.id).failure) == ("parked", "poison")


# --- who is told --------------------------------------------------------------------------------------------
def test_in_new_only_nothing_is_told_and_all_of_it_after_going_back(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    worker.run()
    set_stage("NEW_ONLY")
    face.execute(EarnFactory(**mine, points=100))

    assert number not in messages.claim(direction=Direction.TO_LEGACY, accounts=1000)
    set_stage("NEW_FIRST")
    worker.run()

    assert states_of(number) == ["applied"]
    sides.assert_equal(number)


def test_after_going_back_the_account_is_held_until_the_legacy_knows_it_all(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=100))
    set_stage("LEGACY_FIRST")
    held = fetch_all("SELECT cutover_is_held(%s, 'to_legacy')", [number])

    worker.run()

    assert held == [(True,)]
    assert fetch_all("SELECT cutover_is_held(%s, 'to_legacy')", [number]) == [(False,)]
    face.execute(SpendFactory(**mine, points=10))
    assert [points for _, points, _ in rows_of(number)] == [100, -10]


# --- without our ids ----------------------------------------------------------------------------------------
def test_what_is_unknown_and_stays_so_is_parked_and_its_attempt_is_not_forgotten(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from legacy_bridge.records import StillUnknown

    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    lose_answer(monkeypatch, done=False)
    tell(number)
    make_due(number)
    found = StillUnknown(why="2 new rows could be this.", is_final=True, evidence={"row_ids": ["7", "8"]})
    with monkeypatch.context() as patch:
        patch.setattr(giving, "settle", lambda *_, **__: found)
        assert tell(number) == 0

    parked = message_of(earn.id)
    assert (parked.state, parked.failure) == ("parked", "divergence")
    assert parked.session != ""
    assert parked.payload["found"] == {"row_ids": ["7", "8"]}
    assert differences_of(number) == [("real", f"operation:{earn.id}", False)]


def test_a_legacy_that_cannot_be_asked_leaves_what_is_unknown_for_later(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number, other = mine["account_number"], account_number()
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    lose_answer(monkeypatch, done=True)
    tell(number)
    face.execute(EarnFactory(client_id=mine["client_id"], account_number=other, points=5))
    make_due(number)

    def silent(*_: Any, **__: Any) -> Any:
        raise errors.NotDone("The legacy does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "settle", silent)
        assert to_legacy.tell([number, other]) == 1

    assert message_of(earn.id).session != ""
    assert states_of(number) == ["waiting"]
    assert states_of(other) == ["applied"]
    make_due(number)
    assert tell(number) == 1
    assert [points for _, points, _ in rows_of(number)] == [100]


def test_a_mistake_within_a_call_stops_one_account_and_is_asked_for_later(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    earn = face.execute(EarnFactory(**mine, points=100)).operation
    lose_answer(monkeypatch, done=True, error=ValueError("a mistake"))

    assert tell(number) == 0

    assert (message_of(earn.id).state, message_of(earn.id).session != "") == ("waiting", True)
    make_due(number)
    assert tell(number) == 1
    assert [points for _, points, _ in rows_of(number)] == [100]
