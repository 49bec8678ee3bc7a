"""Two at once, stepped by hand: who waits, for how long, and what is said then."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection

from ledger import balances, operations, queries
from ledger.errors import AccountBusy, DatabaseUnavailable, OperationInProgress
from ledger.idempotency import lock_number
from ledger.models import Account, InboxItem, Operation
from tests.factories import EarnFactory, SpendFactory, TransferFactory, account_number
from tests.ledger.member import Member, refusal_of, traces


@pytest.fixture
def someone_else(committed_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Another session of the application, in a transaction of its own."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as other:
        yield other
        other.rollback()


@pytest.fixture
def member(committed_db: None) -> Member:
    return Member()


@pytest.fixture
def _impatient(member: Member) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '200ms'")
    yield
    connection.close()


def be_patient() -> None:
    """In this thread's session: how long a busy machine takes is not what its test is about."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '1min'; SET statement_timeout = '1min'")


def hold_account(other: psycopg.Connection[Any], number: str) -> None:
    other.execute("SELECT 1 FROM ledger_account WHERE account_number = %s FOR NO KEY UPDATE", [number])


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("make", [EarnFactory, SpendFactory])
def test_an_account_that_is_held_too_long_is_busy_and_the_key_stays_free(
    member: Member, someone_else: psycopg.Connection[Any], make: Any
) -> None:
    member.earns(10)
    before = traces(member.number)
    hold_account(someone_else, member.number)
    command = make(client_id=member.client_id, account_number=member.number, points=1)

    refusal = refusal_of(operations.execute, command)

    assert isinstance(refusal, AccountBusy)
    assert refusal.retry_after_seconds == 1
    assert traces(member.number) == before
    someone_else.rollback()
    assert not operations.execute(command).is_replayed


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("make", [EarnFactory, SpendFactory])
def test_a_key_that_is_being_run_too_long_is_in_progress(
    member: Member, someone_else: psycopg.Connection[Any], make: Any
) -> None:
    member.earns(10)
    command = make(client_id=member.client_id, account_number=member.number, points=1)
    number = lock_number(client_id=command.client_id, idempotency_key=command.idempotency_key)
    someone_else.execute("SELECT pg_advisory_xact_lock(%s)", [number])

    refusal = refusal_of(operations.execute, command)

    assert isinstance(refusal, OperationInProgress)
    someone_else.rollback()
    assert operations.execute(command).operation.state == "completed"


def test_the_second_of_two_equal_requests_waits_and_gets_the_first_ones_outcome(member: Member) -> None:
    member.earns(10)
    commands = [
        SpendFactory(
            client_id=member.client_id, account_number=member.number, points=10, idempotency_key="same"
        )
        for _ in range(2)
    ]
    outcomes: list[Any] = []
    barrier = threading.Barrier(2)

    def run(command: Any) -> None:
        be_patient()
        barrier.wait()
        outcomes.append(operations.execute(command))
        connection.close()

    threads = [threading.Thread(target=run, args=(command,)) for command in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcome.is_replayed for outcome in outcomes) == [False, True]
    assert outcomes[0].operation == outcomes[1].operation
    assert member.available == 0


def test_a_spend_that_saw_an_older_state_is_decided_again(
    member: Member, someone_else: psycopg.Connection[Any]
) -> None:
    """The one-statement spend reads the lots, waits for the account, and finds that it has changed."""
    member.earns(10)
    hold_account(someone_else, member.number)
    outcome: list[Any] = []

    def spend() -> None:
        be_patient()
        outcome.append(
            refusal_of(
                operations.execute,
                SpendFactory(client_id=member.client_id, account_number=member.number, points=10),
            )
        )
        connection.close()

    thread = threading.Thread(target=spend)
    thread.start()
    _wait_until_somebody_waits()
    # Another spend of one point commits meanwhile, written as the posting statement would.
    _spend_one_point(someone_else, member)
    someone_else.commit()
    thread.join()
    # It was announced to nobody, and workers of other tests may have given Redis the balance from before.
    balances.refresh(account_ids=[Account.objects.get(account_number=member.number).id])

    assert outcome[0].detail == "9 points are available."
    assert member.available == 9


def test_an_inbox_is_drained_before_a_spend(member: Member) -> None:
    operations.accept(EarnFactory(client_id=member.client_id, account_number=member.number, points=5))

    spent = member.spends(3)

    assert spent.balance_after == 2
    assert member.history == [("earn", 5, 5), ("spend", -3, 2)]


def test_transfers_in_opposite_directions_never_wait_for_each_other_in_a_circle(member: Member) -> None:
    friend = Member(client_id=member.client_id)
    member.earns(100)
    friend.earns(100)
    refusals: list[Any] = []

    def give(giver: Member, receiver: Member) -> None:
        be_patient()
        for _ in range(20):
            try:
                operations.execute(
                    TransferFactory(
                        client_id=member.client_id,
                        from_account_number=giver.number,
                        to_account_number=receiver.number,
                        points=1,
                    )
                )
            except Exception as error:
                refusals.append(error)
        connection.close()

    threads = [threading.Thread(target=give, args=pair) for pair in [(member, friend), (friend, member)] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refusals == []
    assert (member.available, friend.available) == (100, 100)


def test_first_earns_at_once_open_one_account(committed_db: None) -> None:
    number, client_id = account_number(), Member().client_id
    barrier = threading.Barrier(6)

    def earn() -> None:
        be_patient()
        barrier.wait()
        operations.execute(EarnFactory(client_id=client_id, account_number=number, points=7))
        connection.close()

    threads = [threading.Thread(target=earn) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Account.objects.filter(account_number=number).count() == 1
    assert queries.balance(account_number=number).available == 42


def test_a_session_that_was_ended_is_unavailable_and_the_next_request_works(
    member: Member, someone_else: psycopg.Connection[Any]
) -> None:
    member.earns(10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    someone_else.execute("SELECT pg_terminate_backend(%s)", [pid])
    command = SpendFactory(client_id=member.client_id, account_number=member.number, points=1)

    first = refusal_of(operations.execute, command)
    connection.close()
    second = operations.execute(command)

    assert isinstance(first, DatabaseUnavailable)
    assert second.operation.balance_after == 9
    assert Operation.objects.filter(idempotency_key=command.idempotency_key).count() == 1


def _wait_until_somebody_waits() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as watcher:
        for _ in range(6000):
            (waiting,) = watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() or (0,)
            if waiting:
                return
            threading.Event().wait(0.01)
    raise AssertionError("nobody waits for a lock")


def _spend_one_point(other: psycopg.Connection[Any], member: Member) -> None:
    other.execute(
        """
        WITH account AS (
            UPDATE ledger_account
            SET sequence = sequence + 1, balance = balance - 1,
                last_recorded_at = greatest(last_recorded_at, now())
            WHERE account_number = %(number)s RETURNING *
        ), operation AS (
            INSERT INTO ledger_operation (
                id, client_id, idempotency_key, fingerprint, kind, state, account_number, points,
                recorded_at
            )
            SELECT '00000000-0000-7000-8000-0000000000aa', %(client_id)s, 'other-' || id, '', 'spend',
                'completed', account_number, 1, last_recorded_at
            FROM account
        ), entry AS (
            INSERT INTO ledger_entry (
                id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at,
                posted_at
            )
            SELECT '00000000-0000-7000-8000-0000000000ab', id, sequence,
                '00000000-0000-7000-8000-0000000000aa', 'spend', -1, balance, last_recorded_at, now()
            FROM account
        ), lot AS (
            UPDATE ledger_open_lot SET remaining = remaining - 1
            WHERE account_id = (SELECT id FROM account) RETURNING lot_id
        )
        INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
        SELECT '00000000-0000-7000-8000-0000000000ab', 0, lot_id, -1 FROM lot
        """,
        {"number": member.number, "client_id": member.client_id},
    )


def test_an_account_whose_inbox_cannot_be_drained_stops_no_other(member: Member) -> None:
    """Its items name a command that nobody knows, as after a wrong deployment."""
    other = Member(client_id=member.client_id)
    stuck = operations.accept(EarnFactory(client_id=member.client_id, account_number=member.number))
    operations.accept(EarnFactory(client_id=member.client_id, account_number=other.number, points=5))
    InboxItem.objects.filter(operation_id=stuck.operation.id).update(
        command={"type": "Earn", "client_id": member.client_id, "points": "many"}
    )

    operations.drain_inbox(account_numbers=[member.number, other.number])

    assert (member.available, other.available) == (0, 5)
    item = InboxItem.objects.get(account_number=member.number)
    # Workers that another test left running may have tried as well.
    assert item.attempts >= 1
    assert item.last_error.startswith("TypeError: ")
    # A spend does not overtake it, and another earn joins it.
    assert isinstance(refusal_of(member.spends, 1), AccountBusy)
    assert member.earns(3).state == "accepted"
    # Once it is mended everything is done in order.
    InboxItem.objects.filter(id=item.id).update(command=item.command | {"points": 7} | _rest_of(item))
    operations.drain_inbox(account_numbers=[member.number])
    assert member.history == [("earn", 7, 7), ("earn", 3, 10)]


def _rest_of(item: InboxItem) -> dict[str, Any]:
    return {
        "operation_id": str(item.operation_id),
        "idempotency_key": item.operation.idempotency_key,
        "account_number": item.account_number,
        "reason": "ORDER_REWARD",
    }
