"""What a person does about parked messages: look, send again, skip; once, and with a name to it."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import face
from cutover.mirroring import handling, to_ledger, worker
from cutover.mirroring.handling import Outcome
from cutover.models import FollowedAccount, Mismatch
from ledger.database import fetch_all
from ledger.models import Operation
from ledger.operations import following
from legacy_bridge import errors, giving
from tests.cutover import sides
from tests.cutover.conftest import set_stage
from tests.cutover.legacy_calls import call_directly, in_thread, rows_of
from tests.cutover.mirroring.telling import differences_of, message_of, states_of, tell
from tests.factories import EarnFactory, SpendFactory


@pytest.fixture
def parked(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An account whose earn of 100 is parked, with an earn of 20 behind it."""

    def refuses(*_: Any) -> Any:
        raise errors.NotRepresentable("The legacy has no code for the reason.")

    first = face.execute(EarnFactory(**mine, points=100)).operation
    second = face.execute(EarnFactory(**mine, points=20)).operation
    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", refuses)
        assert tell(mine["account_number"]) == 0
    return {"number": mine["account_number"], "mine": mine, "first": first, "second": second}


def test_what_is_sent_again_is_told_in_order_and_its_mismatch_resolved(parked: dict[str, Any]) -> None:
    number, first = parked["number"], parked["first"]
    message = message_of(first.id)

    (handled,) = handling.resend(message_ids=[message.id], actor="kim", reason="the code is there now")
    worker.run()

    assert handled.outcome is Outcome.RESENT
    assert states_of(number) == ["applied", "applied"]
    assert message_of(first.id).note == "Sent again by kim: the code is there now"
    assert differences_of(number) == [("real", f"operation:{first.id}", True)]
    assert [points for _, points, _ in rows_of(number)] == [100, 20]
    sides.assert_equal(number)


def test_two_who_send_the_same_again_send_it_once(parked: dict[str, Any]) -> None:
    message = message_of(parked["first"].id)
    waits = [
        in_thread(lambda name=name: handling.resend(message_ids=[message.id], actor=name))  # type: ignore[misc]
        for name in ("kim", "lee", "park", "choi")
    ]

    outcomes = sorted(wait()[0].outcome.value for wait in waits)

    assert outcomes == ["on its way already"] * 3 + ["resent"]
    worker.run()
    assert [points for _, points, _ in rows_of(parked["number"])] == [100, 20]


def test_what_is_applied_is_not_sent_again_however_often_it_is_asked_for(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    for points in (100, 20, 3):
        face.execute(EarnFactory(**mine, points=points))
    tell(number)
    ids = [message_of(operation.id).id for operation in Operation.objects.filter(account_number=number)]

    for _ in range(3):
        outcomes = [each.outcome for each in handling.resend(message_ids=ids, actor="kim")]
        assert outcomes == [Outcome.APPLIED_BEFORE] * 3
        worker.run()

    assert [points for _, points, _ in rows_of(number)] == [100, 20, 3]


def test_a_preview_shows_what_would_be_sent_and_changes_nothing(parked: dict[str, Any]) -> None:
    message = message_of(parked["first"].id)

    (shown,) = handling.preview([message.id])

    assert shown.payload["operation_id"] == str(parked["first"].id)
    assert (shown.payload["kind"], shown.payload["points"]) == ("earn", 100)
    assert shown.payload == shown.message.payload
    assert "no code" in shown.message.last_error
    assert states_of(parked["number"]) == ["parked", "waiting"]


def test_what_is_skipped_lets_the_account_go_on_and_leaves_a_resolved_mismatch(
    parked: dict[str, Any],
) -> None:
    number, message = parked["number"], message_of(parked["first"].id)

    (handled,) = handling.skip(message_ids=[message.id], actor="kim", reason="given by hand")
    worker.run()

    assert handled.outcome is Outcome.SKIPPED
    assert states_of(number) == ["skipped", "applied"]
    assert (message_of(parked["first"].id).settled_by, message_of(parked["first"].id).note) == (
        "kim",
        "given by hand",
    )
    mismatch = Mismatch.objects.get(account_number=number)
    assert (mismatch.difference, mismatch.resolved_by, mismatch.resolution) == (
        "real",
        "kim",
        "given by hand",
    )
    assert [points for _, points, _ in rows_of(number)] == [20]
    again = handling.skip(message_ids=[message.id], actor="lee", reason="me too")
    assert [each.outcome for each in again] == [Outcome.SKIPPED_BEFORE]
    assert message_of(parked["first"].id).settled_by == "kim"


def test_a_cancel_of_what_was_skipped_waits_for_a_person_too(parked: dict[str, Any]) -> None:
    from tests.factories import CancelFactory

    handling.skip(message_ids=[message_of(parked["first"].id).id], actor="kim", reason="given by hand")
    cancel = face.execute(
        CancelFactory(client_id=parked["mine"]["client_id"], cancelled_operation_id=parked["first"].id)
    ).operation
    tell(parked["number"])

    assert states_of(parked["number"]) == ["skipped", "applied", "parked"]
    assert message_of(cancel.id).failure == "poison"


def test_nothing_is_skipped_without_a_reason_or_before_it_is_parked(parked: dict[str, Any]) -> None:
    first, second = message_of(parked["first"].id), message_of(parked["second"].id)

    with pytest.raises(handling.ReasonMissing):
        handling.skip(message_ids=[first.id], actor="kim", reason="  ")
    with pytest.raises(handling.MessageNotParked):
        handling.skip(message_ids=[first.id, second.id], actor="kim", reason="all of it")
    with pytest.raises(handling.MessageNotFound):
        handling.skip(message_ids=[first.id, 2**60], actor="kim", reason="all of it")
    with pytest.raises(handling.MessageNotFound):
        handling.resend(message_ids=[2**60], actor="kim")

    assert states_of(parked["number"]) == ["parked", "waiting"]


# --- what the legacy did, though it cannot be proven --------------------------------------------------------
def test_a_row_that_a_person_found_ends_the_message_and_is_not_told_again(parked: dict[str, Any]) -> None:
    number, first = parked["number"], parked["first"]
    message = message_of(first.id)
    row = call_directly("PR_POINT_EARN", number, "11", 100, "D", None)

    with pytest.raises(handling.RowNotMatching):
        handling.settle_as_row(message_id=message.id, row_id=str(2**40), actor="kim", reason="seen")
    handled = handling.settle_as_row(message_id=message.id, row_id=str(row), actor="kim", reason="seen there")
    worker.run()

    assert handled.outcome is Outcome.TIED
    assert Operation.objects.get(id=first.id).counterpart_id == str(row)
    assert states_of(number) == ["applied", "applied"]
    sides.assert_equal(number)


def test_a_row_of_other_points_is_not_taken_for_it(parked: dict[str, Any]) -> None:
    row = call_directly("PR_POINT_EARN", parked["number"], "11", 99, "D", None)

    with pytest.raises(handling.RowNotMatching, match="99 points"):
        handling.settle_as_row(
            message_id=message_of(parked["first"].id).id, row_id=str(row), actor="kim", reason="seen"
        )

    assert states_of(parked["number"]) == ["parked", "waiting"]


# --- the other direction ------------------------------------------------------------------------------------
def test_what_the_ledger_cannot_follow_is_skipped_with_its_row(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    set_stage("LEGACY_FIRST")
    first = face.execute(EarnFactory(**mine, points=100)).operation
    second = face.execute(SpendFactory(**mine, points=30)).operation
    face.execute(EarnFactory(**mine, points=7))
    real = following._Desk.post

    def diverges(desk: Any, fact: Any) -> bool:
        if fact.operation_id == second.id:
            raise following.Diverged("There is no such lot.")
        return real(desk, fact)

    with monkeypatch.context() as patch:
        patch.setattr(following._Desk, "post", diverges)
        to_ledger.tell_each([number])
    assert states_of(number) == ["applied", "parked", "waiting"]
    message = message_of(second.id)
    (shown,) = handling.preview([message.id])
    assert shown.row is not None
    assert (shown.row["points"], shown.row["kind"]) == (-30, "spend")

    handling.skip(message_ids=[message.id], actor="kim", reason="taken by mistake")
    worker.run()

    assert states_of(number) == ["applied", "skipped", "applied"]
    assert sorted(sides.of_ledger(number).values()) == [7, 100]
    last = FollowedAccount.objects.get(account_number=number).position
    (newest,) = fetch_all(
        "SELECT max(counterpart_id) FROM ledger_operation WHERE account_number = %s", [number]
    )
    assert last == newest[0]
    assert first.id != second.id
