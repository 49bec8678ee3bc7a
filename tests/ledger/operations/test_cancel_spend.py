from datetime import timedelta
from uuid import uuid4

import pytest

from ledger import operations, queries
from ledger.commands import Cancel
from ledger.errors import (
    AccountBlocked,
    IdempotencyKeyReused,
    NotCancellable,
    OperationNotFound,
    ValidationRefused,
)
from ledger.models import AccountStatus
from tests.factories import CancelFactory, ClientFactory, ReasonFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of, taken, traces


def test_points_go_back_in_the_reverse_order_of_taking(member: Member) -> None:
    early = member.earns(10, expires_at=NOON + timedelta(days=1))
    late = member.earns(10, expires_at=NOON + timedelta(days=2))
    spent = member.spends(15)

    first = member.cancels(spent, 3)
    second = member.cancels(spent, 7)

    late_lot, early_lot = (late.lots or [])[0].lot, (early.lots or [])[0].lot
    assert taken(first) == [(late_lot, 3)]
    assert taken(second) == [(late_lot, 2), (early_lot, 5)]
    assert (first.kind, first.points, first.cancels, first.cancellable_points) == (
        "spend_cancel",
        3,
        spent.id,
        0,
    )
    assert member.available == 15
    assert member.lots == [(10, 5), (10, 10)]


@pytest.mark.parametrize(("spent", "cancelled"), [(15, 1), (15, 5), (15, 6), (15, 15), (30, 29), (7, 3)])
def test_spending_a_and_cancelling_b_leaves_the_lots_of_spending_the_difference(
    member: Member, spent: int, cancelled: int
) -> None:
    twin = Member(client_id=member.client_id)
    for who in (member, twin):
        for points, days in ((10, 3), (8, 1), (12, None)):
            who.earns(points, expires_at=None if days is None else NOON + timedelta(days=days))

    member.cancels(member.spends(spent), cancelled)
    if spent > cancelled:
        twin.spends(spent - cancelled)

    assert member.all_lots == twin.all_lots
    assert member.available == twin.available


def test_all_that_is_left_is_cancelled_when_no_points_are_named(member: Member) -> None:
    member.earns(20)
    spent = member.spends(15)
    member.cancels(spent, 4)

    rest = member.cancels(spent)

    assert rest.points == 11
    found = queries.find_operation(operation_id=spent.id, client_id=member.client_id, any_client=False)
    assert found.cancellable_points == 0
    assert member.available == 20


@pytest.mark.parametrize("points", [12, 1_000_000_000])
def test_never_more_than_is_left(member: Member, points: int) -> None:
    member.earns(20)
    spent = member.spends(15)
    member.cancels(spent, 4)
    before = traces(member.number)

    refusal = refusal_of(member.cancels, spent, points)

    assert isinstance(refusal, NotCancellable)
    assert refusal.detail == "11 points of the operation can still be cancelled."
    assert traces(member.number) == before


def test_points_of_a_lapsed_lot_come_back_and_expire_at_once_by_default(member: Member) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=1))
    member.earns(10, expires_at=None)
    spent = member.spends(15)
    days_later(1)

    cancelled = member.cancels(spent)

    assert [points for _, points in taken(cancelled)] == [5, 10]
    assert cancelled.balance_after == 10
    assert member.history[-2:] == [("spend_cancel", 15, 20), ("expire", -10, 10)]
    assert member.available == 10


def test_points_of_a_lapsed_lot_come_back_with_days_of_grace(member: Member) -> None:
    reason = ReasonFactory(policy__restore="grace", policy__grace_days=3)
    earned = member.earns(10, reason=reason.code, expires_at=NOON + timedelta(days=1))
    spent = member.spends(8)
    now = days_later(2)

    cancelled = member.cancels(spent, 5)

    (share,) = cancelled.lots or []
    assert (share.points, share.expires_at) == (5, now + timedelta(days=3))
    (lot,) = queries.lots_page(account_number=member.number).data
    assert (lot.id, lot.points, lot.remaining) == (share.lot, 5, 5)
    assert lot.origin == (earned.lots or [])[0].lot
    assert member.available == 5


def test_the_policy_in_force_when_the_lot_was_earned_decides(member: Member) -> None:
    reason = ReasonFactory(policy__restore="grace")
    member.earns(10, reason=reason.code, expires_at=NOON + timedelta(days=1))
    spent = member.spends(10)
    reason.policies.create(version=2, restore="original")
    days_later(2)

    member.cancels(spent)

    assert member.available == 10


@pytest.mark.parametrize("kind", ["transfer", "spend_cancel", "earn_cancel", "adjust", "expire"])
def test_only_earns_and_spends_can_be_cancelled(member: Member, kind: str) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=1))
    earned, spent = member.earns(20), member.spends(5)
    operation = {
        "transfer": lambda: member.gives(1, to=Member()),
        "spend_cancel": lambda: member.cancels(spent, 1),
        "earn_cancel": lambda: member.cancels(earned, 1),
        "adjust": lambda: member.is_adjusted(3),
        "expire": lambda: (days_later(1), member.earns(1), _last_expiry(member))[-1],
    }[kind]()
    before = traces(member.number)

    refusal = refusal_of(member.cancels, operation, any_client=True)

    assert isinstance(refusal, NotCancellable)
    assert traces(member.number) == before


def test_a_refused_spend_cannot_be_cancelled(member: Member) -> None:
    refused = refusal_of(member.spends, 5)

    refusal = refusal_of(
        operations.execute,
        CancelFactory(client_id=member.client_id, cancelled_operation_id=refused.operation_id),
    )

    assert isinstance(refusal, NotCancellable)


def test_another_clients_operation_is_not_found_and_no_different_from_none(member: Member) -> None:
    member.earns(10)
    spent = member.spends(5)
    stranger = ClientFactory()

    foreign = refusal_of(
        operations.execute, CancelFactory(client_id=stranger.id, cancelled_operation_id=spent.id)
    )
    unknown = refusal_of(
        operations.execute, CancelFactory(client_id=stranger.id, cancelled_operation_id=uuid4())
    )

    assert isinstance(foreign, OperationNotFound)
    assert (type(foreign), foreign.to_json()) == (type(unknown), unknown.to_json())
    assert member.available == 5


def test_a_client_for_all_operations_cancels_anothers(member: Member) -> None:
    member.earns(10)
    spent = member.spends(5)

    member.cancels(spent, client_id=ClientFactory().id, any_client=True)

    assert member.available == 10


def test_the_same_key_gives_the_first_outcome_again(member: Member) -> None:
    member.earns(10)
    spent = member.spends(8)
    command = CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=3)
    first = operations.execute(command)
    member.cancels(spent, 2)

    again = operations.execute(_again(command))

    assert again.is_replayed
    assert again.operation == first.operation
    assert member.available == 7
    assert isinstance(refusal_of(operations.execute, _again(command, points=4)), IdempotencyKeyReused)


def test_an_unknown_reason_is_refused(member: Member) -> None:
    member.earns(10)
    spent = member.spends(8)

    refusal = refusal_of(member.cancels, spent, reason="ORDER_REWARD")

    assert isinstance(refusal, ValidationRefused)
    assert refusal.field_code == "reason_not_allowed"


def test_a_blocked_account_can_be_cancelled_on_and_a_closed_one_not(member: Member) -> None:
    member.earns(10)
    spent = member.spends(8)
    operations.change_account_status(
        account_number=member.number, status=AccountStatus.BLOCKED, note="test", actor="a"
    )
    member.cancels(spent, 3)
    assert member.available == 5
    operations.change_account_status(
        account_number=member.number, status=AccountStatus.CLOSED, note="test", actor="a"
    )

    refusal = refusal_of(member.cancels, spent, 1)

    assert isinstance(refusal, AccountBlocked)
    assert member.available == 5


def _again(command: Cancel, points: int | None = None) -> Cancel:
    return CancelFactory(
        client_id=command.client_id,
        idempotency_key=command.idempotency_key,
        cancelled_operation_id=command.cancelled_operation_id,
        points=command.points if points is None else points,
    )


def _last_expiry(member: Member) -> object:
    line = next(
        line for line in queries.history_page(account_number=member.number).data if line.kind == "expire"
    )
    return queries.find_operation(operation_id=line.operation_id, client_id=0, any_client=True)
