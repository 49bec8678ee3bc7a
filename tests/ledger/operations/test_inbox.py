from datetime import timedelta

from ledger import operations, queries
from ledger.errors import IdempotencyKeyReused, InsufficientPoints, NotCancellable, OperationNotFound
from ledger.models import InboxItem, Operation
from tests.factories import CancelFactory, ClientFactory, EarnFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of


def test_what_is_accepted_is_durable_and_not_done_yet(member: Member) -> None:
    accepted = operations.accept(
        EarnFactory(client_id=member.client_id, account_number=member.number)
    ).operation

    assert (accepted.state, accepted.points, accepted.balance_after, accepted.lots) == (
        "accepted",
        100,
        None,
        None,
    )
    assert InboxItem.objects.filter(operation_id=accepted.id).count() == 1
    assert member.available == 0


def test_draining_does_it_in_order_and_once(member: Member) -> None:
    accepted = [
        operations.accept(
            EarnFactory(client_id=member.client_id, account_number=member.number, points=points)
        ).operation
        for points in (1, 2, 3)
    ]

    assert operations.drain_inbox(account_numbers=[member.number]) == 3
    assert operations.drain_inbox(account_numbers=[member.number]) == 0

    assert member.history == [("earn", 1, 1), ("earn", 2, 3), ("earn", 3, 6)]
    found = queries.find_operation(operation_id=accepted[1].id, client_id=member.client_id, any_client=False)
    assert (found.state, found.balance_after, found.cancellable_points) == ("completed", 3, 2)


def test_a_cancel_of_an_earn_that_is_still_in_the_inbox_comes_after_it(member: Member) -> None:
    earned = operations.accept(
        EarnFactory(client_id=member.client_id, account_number=member.number)
    ).operation
    cancelled = operations.accept(
        CancelFactory(client_id=member.client_id, cancelled_operation_id=earned.id)
    ).operation

    operations.drain_inbox(account_numbers=[member.number])

    assert member.history == [("earn", 100, 100), ("earn_cancel", -100, 0)]
    assert Operation.objects.get(id=cancelled.id).kind == "earn_cancel"


def test_a_spend_first_does_what_was_accepted_before_it(member: Member) -> None:
    """Outside a transaction the spend drains; see the concurrency tests. Inside one it is refused."""
    operations.accept(EarnFactory(client_id=member.client_id, account_number=member.number))

    assert refusal_of(member.spends, 1).code == "account_busy"


def test_the_same_key_answers_accepted_and_later_the_outcome(member: Member) -> None:
    command = EarnFactory(client_id=member.client_id, account_number=member.number)
    first = operations.accept(command)
    again = operations.accept(
        EarnFactory(
            client_id=member.client_id,
            account_number=member.number,
            idempotency_key=command.idempotency_key,
        )
    )
    assert (again.is_replayed, again.operation) == (True, first.operation)
    operations.drain_inbox(account_numbers=[member.number])

    after = operations.accept(
        EarnFactory(
            client_id=member.client_id,
            account_number=member.number,
            idempotency_key=command.idempotency_key,
        )
    )
    other = refusal_of(
        operations.accept,
        EarnFactory(
            client_id=member.client_id,
            account_number=member.number,
            idempotency_key=command.idempotency_key,
            points=7,
        ),
    )

    assert (after.is_replayed, after.operation.state, after.operation.id) == (
        True,
        "completed",
        first.operation.id,
    )
    assert isinstance(other, IdempotencyKeyReused)
    assert member.available == 100


def test_a_refusal_ends_the_accepted_operation(member: Member) -> None:
    member.earns(10)
    spent = member.spends(10)
    accepted = operations.accept(
        CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=6)
    ).operation
    too_much = operations.accept(
        CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=6)
    ).operation

    operations.drain_inbox(account_numbers=[member.number])

    assert Operation.objects.get(id=accepted.id).state == "completed"
    failed = queries.find_operation(operation_id=too_much.id, client_id=member.client_id, any_client=False)
    assert (failed.state, (failed.refusal or {})["code"]) == ("failed", "not_cancellable")
    assert member.available == 6


def test_a_lot_that_lapsed_while_it_waited_is_granted_and_lapses(member: Member) -> None:
    operations.accept(
        EarnFactory(
            client_id=member.client_id, account_number=member.number, expires_at=NOON + timedelta(days=1)
        )
    )
    days_later(2)

    operations.drain_inbox(account_numbers=[member.number])

    assert member.available == 0
    assert isinstance(refusal_of(member.spends, 1), InsufficientPoints)
    assert member.history == [("earn", 100, 100), ("expire", -100, 0)]


def test_what_can_be_judged_at_once_is_refused_at_once(member: Member) -> None:
    member.earns(10)
    spent = member.spends(10)

    foreign = refusal_of(
        operations.accept, CancelFactory(client_id=ClientFactory().id, cancelled_operation_id=spent.id)
    )
    too_much = refusal_of(
        operations.accept,
        CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=11),
    )

    assert isinstance(foreign, OperationNotFound)
    assert isinstance(too_much, NotCancellable)
    assert not InboxItem.objects.filter(account_number=member.number).exists()
