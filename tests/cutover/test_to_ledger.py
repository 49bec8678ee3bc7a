"""The legacy decides, and the ledger follows: operation by operation, lot by lot."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import face, rows
from cutover.mirroring import messages, tail, to_ledger, worker
from cutover.models import Direction, MirrorMessage
from ledger.models import Entry, Operation
from ledger.verification import verify
from legacy_bridge import configured, sessions
from tests.cutover import sides
from tests.cutover.conftest import set_stage
from tests.cutover.legacy_calls import call_directly, lose_answer
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture
def mine(legacy_only: Any) -> dict[str, Any]:
    return {"client_id": ClientFactory().id, "account_number": account_number()}


@pytest.fixture
def following(mine: dict[str, Any]) -> dict[str, Any]:
    set_stage("LEGACY_FIRST")
    return mine


def follow() -> None:
    while claimed := messages.claim(direction=Direction.TO_LEDGER, accounts=50):
        to_ledger.tell_each(claimed)


def look_for_strangers() -> int:
    with sessions.session() as session:
        return tail.follow(configured.adapter(), session).strangers


def states_of(number: str) -> list[tuple[str, str]]:
    return list(
        MirrorMessage.objects.filter(account_number=number).order_by("id").values_list("direction", "state")
    )


def entries_of(number: str) -> list[tuple[str, int]]:
    return list(
        Entry.objects.filter(account__account_number=number)
        .order_by("sequence")
        .values_list("kind", "points")
    )


def test_what_the_legacy_decides_is_posted_over_the_same_lots(following: dict[str, Any]) -> None:
    number, client = following["account_number"], following["client_id"]
    face.execute(EarnFactory(**following, points=100))
    face.execute(EarnFactory(**following, points=50, reason="GIFT_CARD"))
    spend = face.execute(SpendFactory(**following, points=120)).operation
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id, points=30))
    follow()

    assert entries_of(number) == [("earn", 100), ("earn", 50), ("spend", -120), ("spend_cancel", 30)]
    assert states_of(number) == [("to_ledger", "applied")] * 4
    assert sum(sides.of_ledger(number).values()) == 60
    sides.assert_equal(number)


def test_an_account_that_is_older_than_the_mirror_is_followed_from_its_first_row(
    mine: dict[str, Any],
) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=100))
    face.execute(SpendFactory(**mine, points=10))
    assert states_of(number) == []
    set_stage("LEGACY_FIRST")
    face.execute(SpendFactory(**mine, points=20))
    follow()

    assert entries_of(number) == [("earn", 100), ("spend", -10), ("spend", -20)]
    sides.assert_equal(number)


def test_what_came_past_the_api_is_posted_in_its_place(following: dict[str, Any]) -> None:
    number = following["account_number"]
    look_for_strangers()
    call_directly("PR_POINT_EARN", number, "11", 70, "D", None)
    spend = face.execute(SpendFactory(**following, points=60)).operation
    call_directly("PR_POINT_USE", number, "21", 5)
    assert look_for_strangers() == 2
    follow()

    assert entries_of(number) == [("earn", 70), ("spend", -60), ("spend", -5)]
    assert states_of(number) == [("to_ledger", "applied")] * 3
    assert Operation.objects.get(id=spend.id).state == "completed"
    sides.assert_equal(number)


def test_captured_messages_wait_until_somebody_follows(mine: dict[str, Any]) -> None:
    set_stage("LEGACY_FIRST")
    set_stage("LEGACY_ONLY")
    face.execute(EarnFactory(**mine, points=100))
    follow()
    assert states_of(mine["account_number"]) == [("to_ledger", "waiting")]

    set_stage("LEGACY_FIRST")
    follow()
    assert entries_of(mine["account_number"]) == [("earn", 100)]


def test_applying_twice_changes_nothing(following: dict[str, Any]) -> None:
    number = following["account_number"]
    face.execute(EarnFactory(**following, points=100))
    follow()
    before = entries_of(number)

    to_ledger.tell_each([number])
    assert entries_of(number) == before


def test_a_lost_answer_keeps_what_comes_after_it_waiting(
    following: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cutover import settling
    from ledger import errors

    number = following["account_number"]
    face.execute(EarnFactory(**following, points=100))
    lose_answer(monkeypatch, done=True)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(SpendFactory(**following, points=30))
    follow()
    assert entries_of(number) == [("earn", 100)]

    settling.settle_due()
    follow()
    assert entries_of(number) == [("earn", 100), ("spend", -30)]
    sides.assert_equal(number)


def test_what_the_ledger_cannot_follow_parks_that_account_alone(following: dict[str, Any]) -> None:
    number = following["account_number"]
    other = {**following, "account_number": account_number()}
    face.execute(EarnFactory(**following, points=100))
    follow()
    with sessions.session() as session:
        # By hand, past every procedure and every history.
        session.query("UPDATE legacy.PT_LOT SET REMAIN_AMT = 500, SAVE_AMT = 500 WHERE MBR_NO = %s", [number])
    face.execute(SpendFactory(**following, points=300))
    face.execute(SpendFactory(**following, points=1))
    face.execute(EarnFactory(**other, points=7))
    follow()

    assert entries_of(number) == [("earn", 100)]
    assert [state for _, state in states_of(number)] == ["applied", "parked", "waiting"]
    parked = MirrorMessage.objects.get(account_number=number, state="parked")
    assert (parked.failure, parked.payload["points"]) == ("divergence", 300)
    assert "100" in parked.last_error
    assert entries_of(other["account_number"]) == [("earn", 7)]


def test_the_ledger_proves_what_it_followed(following: dict[str, Any]) -> None:
    client = following["client_id"]
    earned = face.execute(EarnFactory(**following, points=100)).operation
    spend = face.execute(SpendFactory(**following, points=40)).operation
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id))
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=earned.id, points=25))
    follow()

    assert [breach.sentence() for breach in verify().breaches] == []


def test_the_worker_does_both(following: dict[str, Any]) -> None:
    call_directly("PR_POINT_EARN", following["account_number"], "11", 70, "D", None)
    worker.look_for_strangers(again=True)
    assert worker.run(budget_seconds=5) >= 1
    sides.assert_equal(following["account_number"])


def test_a_row_that_was_committed_behind_the_position_is_posted_too(following: dict[str, Any]) -> None:
    number = following["account_number"]
    face.execute(EarnFactory(**following, points=100))
    late = call_directly("PR_POINT_USE", number, "21", 5)
    face.execute(SpendFactory(**following, points=10))
    with sessions.session() as session:
        # As if the legacy had numbered it before the others, and committed it after them.
        session.query("UPDATE legacy.PT_HIST SET HIST_SEQ = -HIST_SEQ WHERE HIST_SEQ = %s", [late])
        session.query("UPDATE legacy.PT_HIST_LOT SET HIST_SEQ = -HIST_SEQ WHERE HIST_SEQ = %s", [late])
    follow()
    assert entries_of(number) == [("earn", 100), ("spend", -10)]
    with sessions.session() as session:
        rows.adopt(session, configured.adapter().rows_by_id(session, [str(-late)]))
    follow()

    assert entries_of(number) == [("earn", 100), ("spend", -10), ("spend", -5)]
    sides.assert_equal(number)
    with sessions.session() as session:
        session.query("UPDATE legacy.PT_HIST SET HIST_SEQ = %s WHERE HIST_SEQ = %s", [late, -late])
        session.query("UPDATE legacy.PT_HIST_LOT SET HIST_SEQ = %s WHERE HIST_SEQ = %s", [late, -late])
