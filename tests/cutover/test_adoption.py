"""Rows that no call of the API made: shown as operations, found, cancelled; never taken for ours."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from cutover import face, identifiers, settling
from ledger import errors
from ledger.models import Operation
from legacy_bridge import errors as bridge
from tests.cutover.legacy_calls import call_directly, in_thread, instead_of_next_give, lose_answer, rows_of
from tests.factories import CancelFactory, ClientFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture
def number(legacy_only: Any) -> str:
    """An account that services have used through the procedures."""
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    return number


@pytest.fixture
def client_id() -> int:
    return int(ClientFactory().id)


def by_reference(reference: str, client_id: int) -> list[Any]:
    page = face.operations_by_reference(client_id=client_id, any_client=False, reference=reference)
    return list(page.data)


def test_a_client_that_has_just_moved_cancels_what_it_spent_the_day_before(
    number: str, client_id: int
) -> None:
    reference = f"ORDER-{uuid4().hex[:8]}"
    row = call_directly("PR_POINT_USE", number, "21", 60, reference=reference)

    (spent,) = by_reference(reference, client_id)
    assert (spent.id, spent.kind, spent.points) == (identifiers.operation_id(str(row)), "spend", 60)
    assert (spent.state, spent.cancellable_points, spent.balance_after) == ("completed", 60, 40)

    part = CancelFactory(client_id=client_id, cancelled_operation_id=spent.id, points=20)
    rest = CancelFactory(client_id=client_id, cancelled_operation_id=spent.id)
    more = CancelFactory(client_id=client_id, cancelled_operation_id=spent.id, points=1)
    assert face.execute(part).operation.balance_after == 60
    assert face.execute(part).is_replayed
    assert (face.execute(rest).operation.points, face.balance(account_number=number).available) == (40, 100)
    with pytest.raises(errors.NotCancellable):
        face.execute(more)
    assert rows_of(number)[2:] == [
        ("UC", 20, str(part.operation_id)),
        ("UC", 40, str(rest.operation_id)),
    ]


def test_what_was_cancelled_through_the_procedure_cannot_be_cancelled_again(
    number: str, client_id: int
) -> None:
    reference = f"ORDER-{uuid4().hex[:8]}"
    row = call_directly("PR_POINT_USE", number, "21", 60, reference=reference)
    call_directly("PR_POINT_USE_CANCEL", number, row, 15, "31")

    (spent,) = by_reference(reference, client_id)
    rest = face.execute(CancelFactory(client_id=client_id, cancelled_operation_id=spent.id)).operation

    assert (spent.points, spent.cancellable_points, rest.points, rest.balance_after) == (60, 45, 45, 100)


def test_history_shows_each_row_under_an_id_that_stays(number: str, client_id: int) -> None:
    row = call_directly("PR_POINT_USE", number, "21", 60)
    cancelled = call_directly("PR_POINT_USE_CANCEL", number, row, 15, "31")

    first, second = (face.history_page(account_number=number).data for _ in "12")

    assert first == second
    assert [(line.kind, line.points, line.operation_id) for line in first[:2]] == [
        ("spend_cancel", 15, identifiers.operation_id(str(cancelled))),
        ("spend", -60, identifiers.operation_id(str(row))),
    ]
    found = face.find_operation(
        operation_id=identifiers.operation_id(str(row)), client_id=client_id, any_client=False
    )
    # What was cancelled through the procedure counts.
    assert (found.points, found.cancellable_points) == (60, 45)


def test_nothing_is_adopted_while_an_intent_of_the_account_is_open(
    number: str, client_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row may be the one whose answer was lost."""
    reference = f"ORDER-{uuid4().hex[:8]}"
    spend = SpendFactory(client_id=client_id, account_number=number, points=60, reference=reference)
    direct = call_directly("PR_POINT_USE", number, "21", 10, reference=f"{reference}-direct")
    lose_answer(monkeypatch, done=True)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(spend)

    face.history_page(account_number=number)
    (pending,) = by_reference(reference, client_id)
    assert (pending.id, pending.state) == (spend.operation_id, "pending")
    assert by_reference(f"{reference}-direct", client_id) == []

    settling.settle_due()
    (ours,) = by_reference(reference, client_id)
    assert (ours.id, ours.state) == (spend.operation_id, "completed")
    (adopted,) = by_reference(f"{reference}-direct", client_id)
    assert adopted.id == identifiers.operation_id(str(direct))


def test_a_row_whose_call_ends_while_it_is_read_is_that_calls(
    number: str, client_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cutover import rows

    spend = SpendFactory(client_id=client_id, account_number=number, points=60)
    real = rows.adopt

    def late(session: Any, strangers: Any) -> Any:
        settling.settle_due()
        return real(session, strangers)

    lose_answer(monkeypatch, done=True)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(spend)
    monkeypatch.setattr(rows, "adopt", late)

    lines = face.history_page(account_number=number).data

    assert lines[0].operation_id == spend.operation_id
    derived = identifiers.operation_id(Operation.objects.get(id=spend.operation_id).counterpart_id or "")
    assert not Operation.objects.filter(id=derived).exists()


def test_a_direct_call_beside_a_lost_one_is_not_taken_for_it(
    number: str, client_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend = SpendFactory(client_id=client_id, account_number=number, points=30)

    def beside(*_: Any) -> None:
        in_thread(lambda: call_directly("PR_POINT_USE", number, "21", 30))()
        raise bridge.OutcomeUnknown("The answer was lost.")

    instead_of_next_give(monkeypatch, beside)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(spend)
    settling.settle_due()

    assert rows_of(number)[1:] == [("US", -30, None), ("US", -30, str(spend.operation_id))]
    lines = face.history_page(account_number=number).data
    assert lines[0].operation_id == spend.operation_id
    assert lines[1].operation_id not in (spend.operation_id, None)
