from datetime import timedelta

import pytest

from ledger import operations
from ledger.errors import AccountBlocked, InsufficientPoints
from ledger.models import AccountStatus, Operation
from tests.factories import SpendFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of, taken, traces


def test_the_soonest_expiry_goes_first_then_the_oldest_and_never_last(member: Member) -> None:
    never = member.earns(10, expires_at=None)
    late = member.earns(10, expires_at=NOON + timedelta(days=9))
    early = member.earns(10, expires_at=NOON + timedelta(days=2))
    early_too = member.earns(10, expires_at=NOON + timedelta(days=2))

    spent = member.spends(35)

    assert [lot for lot, _ in taken(spent)] == [
        operation.lots[0].lot for operation in (early, early_too, late, never) if operation.lots
    ]
    assert [points for _, points in taken(spent)] == [10, 10, 10, 5]
    assert (spent.balance_after, spent.cancellable_points) == (5, 35)
    assert member.lots == [(10, 5)]


def test_a_lot_is_spendable_until_its_instant_and_not_at_it(member: Member) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=1))
    days_later(1 - 1e-9)
    assert member.spends(1).balance_after == 9
    days_later(1e-9)

    refusal = refusal_of(member.spends, 1)

    assert isinstance(refusal, InsufficientPoints)
    assert member.available == 0
    assert member.history == [("earn", 10, 10), ("spend", -1, 9), ("expire", -9, 0)]


def test_too_few_points_change_nothing_and_the_refusal_is_kept(member: Member) -> None:
    member.earns(10)
    before = traces(member.number)
    command = SpendFactory(client_id=member.client_id, account_number=member.number, points=11)

    refusal = refusal_of(operations.execute, command)

    assert isinstance(refusal, InsufficientPoints)
    assert refusal.detail == "10 points are available."
    assert traces(member.number) == before
    member.earns(100)
    again = refusal_of(
        operations.execute,
        SpendFactory(
            client_id=member.client_id,
            account_number=member.number,
            points=11,
            idempotency_key=command.idempotency_key,
        ),
    )
    assert (again.code, again.detail, again.is_replayed) == ("insufficient_points", refusal.detail, True)
    assert member.available == 110


def test_an_account_that_was_never_seen_has_nothing_to_spend(member: Member) -> None:
    refusal = refusal_of(member.spends, 1)

    assert isinstance(refusal, InsufficientPoints)
    assert refusal.detail == "0 points are available."
    assert Operation.objects.get(account_number=member.number).state == "failed"
    assert traces(member.number) == (0, 0, 0, 0)


def test_a_retry_of_the_spend_that_emptied_the_account_is_not_refused(member: Member) -> None:
    member.earns(10)
    command = SpendFactory(client_id=member.client_id, account_number=member.number, points=10)
    first = operations.execute(command)

    again = operations.execute(
        SpendFactory(
            client_id=member.client_id,
            account_number=member.number,
            points=10,
            idempotency_key=command.idempotency_key,
        )
    )

    assert again.is_replayed
    assert again.operation == first.operation


def test_a_blocked_account_spends_nothing(member: Member) -> None:
    member.earns(10)
    operations.change_account_status(
        account_number=member.number, status=AccountStatus.BLOCKED, note="test", actor="a"
    )

    refusal = refusal_of(member.spends, 1)

    assert isinstance(refusal, AccountBlocked)
    assert member.available == 10


@pytest.mark.parametrize("lots", [32, 33, 34, 70])
def test_many_small_lots_are_taken_in_order_however_many_there_are(member: Member, lots: int) -> None:
    """More lots than are read at first: the rest is read when it is needed."""
    earned = [member.earns(1, expires_at=NOON + timedelta(days=lots - index)) for index in range(lots)]

    spent = member.spends(lots - 1)

    assert taken(spent) == [((operation.lots or [])[0].lot, 1) for operation in reversed(earned[1:])]
    assert member.available == 1
    assert isinstance(refusal_of(member.spends, 2), InsufficientPoints)
    assert member.spends(1).balance_after == 0


def test_both_ways_of_spending_take_the_same_lots(member: Member) -> None:
    """One account spends alone (one statement), its twin in a batch of two (the general way)."""
    twin = Member(client_id=member.client_id)
    for who in (member, twin):
        for points, days in ((7, 3), (5, 1), (9, 2), (4, None)):
            who.earns(points, expires_at=None if days is None else NOON + timedelta(days=days))

    quick = [member.spends(points) for points in (6, 9)]
    general = operations.execute_all(
        [
            SpendFactory(client_id=member.client_id, account_number=twin.number, points=points)
            for points in (6, 9)
        ]
    )

    for one, other in zip(quick, general, strict=True):
        assert [share.points for share in one.lots or []] == [
            share.points
            for share in other.operation.lots or []  # type: ignore[union-attr]
        ]
        assert one.balance_after == other.operation.balance_after  # type: ignore[union-attr]
    assert member.lots == twin.lots == [(7, 6), (4, 4)]
    assert member.history == twin.history
