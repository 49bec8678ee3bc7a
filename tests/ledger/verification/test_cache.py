"""Redis against the ledger: what is right or absent passes, what is not is named."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django_redis import get_redis_connection

from ledger import balances, clock
from ledger.balances import _format, _redis, _store
from ledger.models import Account, StaleBalance
from ledger.records import BalanceRecord, PointsBefore
from ledger.verification import Report, cache, verify
from tests.ledger.member import Member


@pytest.fixture
def member(committed_db: None) -> Iterator[Member]:
    member = Member()
    member.earns(10)
    member.earns(5)
    # Workers that another test left running refresh what was earned: nothing may be left for them.
    balances.refresh(account_ids=[Account.objects.get(account_number=member.number).id])
    time.sleep(0.5)
    yield member
    get_redis_connection("default").delete(_store.key_of(member.number))


def checked(member: Member) -> list[tuple[str, str]]:
    """(check, account) of all breaches of I12. Other tests' balances are looked at too, and are right."""
    report = verify(guards=False)
    return [
        (breach.check, str(breach.examples[0]["account"]))
        for breach in report.breaches
        if breach.invariant == "I12"
    ]


def put(member: Member, *, available: int, sequence: int) -> None:
    """Write a well formed balance, as if the ledger had said so."""
    now = clock.now()
    record = BalanceRecord(
        account_number=member.number,
        available=available,
        expiring_soon=PointsBefore(points=0, before=now + timedelta(days=30)),
        next_expiry=None,
        as_of=now,
    )
    value, milliseconds = _format.encode(record, sequence=sequence)
    key = _store.key_of(member.number)
    get_redis_connection("default").set(key, value, px=milliseconds)


def test_what_the_ledger_put_there_is_right(member: Member) -> None:
    balances.refresh(account_ids=[Account.objects.get(account_number=member.number).id])
    (cached,) = balances.peek(account_numbers=[member.number])
    assert (cached.state, cached.available) == ("value", 15)

    assert checked(member) == []


def test_a_made_up_balance_is_named(member: Member) -> None:
    put(member, available=16, sequence=2)

    assert checked(member) == [("cached_balance_is_the_ledgers", member.number)]


def test_a_version_from_the_future_is_named(member: Member) -> None:
    put(member, available=15, sequence=3)

    assert checked(member) == [("cached_version_is_not_ahead", member.number)]


def test_a_version_that_stays_behind_is_named(member: Member) -> None:
    put(member, available=10, sequence=1)

    assert checked(member) == [("cached_balance_is_current", member.number)]


def mark(member: Member) -> None:
    """As a commit does; and as if the process had died before it told Redis."""
    account = Account.objects.get(account_number=member.number)
    StaleBalance.objects.update_or_create(
        account=account, defaults={"sequence": account.sequence, "marked_at": clock.now()}
    )


def test_what_a_process_left_to_the_sweeper_is_waited_for(member: Member) -> None:
    put(member, available=10, sequence=1)
    mark(member)
    account = Account.objects.get(account_number=member.number)
    sweeper = threading.Timer(1.2, lambda: balances.refresh(account_ids=[account.id]))
    sweeper.start()

    assert checked(member) == []
    sweeper.join()
    assert not StaleBalance.objects.filter(account=account).exists()


def test_what_no_sweeper_comes_by_for_is_named(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_SWEPT_WITHIN_SECONDS", 0.7)
    put(member, available=10, sequence=1)
    mark(member)

    assert checked(member) == [("cached_balance_is_current", member.number)]
    StaleBalance.objects.filter(account__account_number=member.number).delete()


def test_garbage_is_named(member: Member) -> None:
    get_redis_connection("default").set(_store.key_of(member.number), b"\x00garbage", px=30_000)

    assert checked(member) == [("cached_balance_is_readable", member.number)]


def test_without_redis_the_check_is_skipped_and_never_passed(member: Member) -> None:
    _redis.breaker.is_open = True
    try:
        report: Report = verify(guards=False)
    finally:
        _redis.breaker.is_open = False

    assert {skipped.check for skipped in report.skipped} == {
        "cached_balance_is_current",
        "cached_balance_is_readable",
        "cached_balance_is_the_ledgers",
        "cached_version_is_not_ahead",
    }
    assert not any(check.startswith("cached_") for check in report.checked)
    assert all("Redis is not there" in skipped.because for skipped in report.skipped)
