"""Redis refuses, hangs, forgets, comes back: nobody waits, nothing fails, and nobody reads an old balance."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ledger import balances, queries
from ledger.balances import RedisUnavailable, _redis, metrics
from ledger.balances._reading import SingleFlight
from ledger.balances._store import VersionedBalance, key_of
from tests.factories import account_number
from tests.ledger.balances.conftest import OwnRedis, wait_until
from tests.ledger.balances.steps import (
    account_id,
    balance_in_postgresql,
    beside,
    breaker_is_open,
    cached,
    count,
    is_marked_stale,
)
from tests.ledger.member import Member

#: The timeout of Redis, and what a loaded machine adds to an answer.
ONE_TIMEOUT_SECONDS = 0.1
SLACK_SECONDS = 1.5


def seconds_of(action: Callable[..., Any], **values: Any) -> float:
    started = time.monotonic()
    action(**values)
    return time.monotonic() - started


class TestRedisRefuses:
    def test_reads_and_writes_go_on(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        own_redis.stop()
        for turn in range(1, 11):
            member.earns(10)
            assert balances.read(account_number=member.number).available == 100 + 10 * turn
        member.spends(200)
        assert balances.read(account_number=member.number).available == 0
        assert breaker_is_open()

    def test_account_stays_marked_until_redis_is_back(self, member: Member, own_redis: OwnRedis) -> None:
        own_redis.stop()
        member.earns(100)
        with pytest.raises(RedisUnavailable):
            balances.refresh(account_ids=[account_id(member.number)])
        assert balances.sweep_stale_balances(stale_after_seconds=0) == 0
        assert is_marked_stale(member.number)
        own_redis.start_again()
        wait_until(lambda: not breaker_is_open())
        assert balances.sweep_stale_balances(stale_after_seconds=0) >= 1
        assert not is_marked_stale(member.number)
        assert cached(member.number) == ("value", 1, 100)

    def test_restart_between_two_requests_is_not_even_noticed(
        self, member: Member, own_redis: OwnRedis
    ) -> None:
        member.earns(100)
        failures = count(metrics.REDIS_FAILURES)
        own_redis.stop()
        own_redis.start_again()
        # The kept connection is dead and the scripts are gone, but Redis answers.
        member.earns(50)
        assert cached(member.number) == ("tombstone", 2, None)
        assert count(metrics.REDIS_FAILURES) == failures


class TestRedisHangs:
    with_real_timeout = True

    def test_costs_one_timeout_and_then_nothing(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        own_redis.hang()
        first = seconds_of(balances.read, account_number=member.number)
        assert first < ONE_TIMEOUT_SECONDS + SLACK_SECONDS
        assert breaker_is_open()
        started = time.monotonic()
        for _ in range(50):
            assert balances.read(account_number=member.number).available == 100
        # Not one of the fifty waited: together they are faster than a few timeouts.
        assert time.monotonic() - started < 5 * ONE_TIMEOUT_SECONDS + SLACK_SECONDS

    def test_first_connection_of_a_thread_costs_no_more(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.hang()
        reading = beside(seconds_of, balances.read, account_number=member.number)
        assert reading.result(timeout=10) < ONE_TIMEOUT_SECONDS + SLACK_SECONDS

    def test_write_costs_one_timeout_and_then_nothing(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.hang()
        assert seconds_of(member.earns, points=1) < ONE_TIMEOUT_SECONDS + SLACK_SECONDS
        started = time.monotonic()
        for _ in range(50):
            member.earns(1)
        assert time.monotonic() - started < 5 * ONE_TIMEOUT_SECONDS + SLACK_SECONDS
        assert member.available == 151

    def test_refresh_is_in_no_hurry(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.hang()
        threading.Timer(5 * ONE_TIMEOUT_SECONDS, own_redis.go_on).start()
        assert balances.refresh(account_ids=[account_id(member.number)]) == 1
        assert cached(member.number) == ("value", 1, 100)
        assert not breaker_is_open()

    def make_the_breaker_open(self, member: Member) -> None:
        """By an earn of somebody else: what it sent still reaches Redis, what comes after it does not."""
        Member(client_id=member.client_id).earns(1)
        assert breaker_is_open()

    def test_what_changed_meanwhile_is_noted_before_anybody_reads_from_redis_again(
        self, member: Member, own_redis: OwnRedis
    ) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        assert cached(member.number) == ("value", 1, 100)
        late = count(metrics.ANNOUNCED_LATE)
        own_redis.hang()
        self.make_the_breaker_open(member)
        member.earns(50)
        assert balances.read(account_number=member.number).available == 150
        own_redis.go_on()
        # Whatever is read between now and the closing of the breaker is never the old value.
        wait_until(
            lambda: balances.read(account_number=member.number).available == 150 and not breaker_is_open()
        )
        assert balances.read(account_number=member.number).available == 150
        assert cached(member.number)[1] == 2
        assert count(metrics.ANNOUNCED_LATE) == late + 2

    def test_control_closed_without_that_the_old_value_is_read(
        self, member: Member, own_redis: OwnRedis
    ) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        own_redis.hang()
        self.make_the_breaker_open(member)
        member.earns(50)
        # A breaker that keeps nothing, as it is usually written.
        _redis.breaker._kept.clear()
        _redis.reset()
        own_redis.go_on()
        assert member.available == 150
        assert balances.read(account_number=member.number).available == 100


class TestRedisForgets:
    def test_flushed_in_between_reads_come_from_postgresql(self, member: Member, own_redis: OwnRedis) -> None:
        for turn in range(1, 6):
            member.earns(10)
            own_redis.client().flushall()
            assert balances.read(account_number=member.number).available == 10 * turn
            assert cached(member.number) == ("value", turn, 10 * turn)

    def test_forgotten_scripts_are_loaded_again(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.client().script_flush()
        member.earns(50)
        assert cached(member.number) == ("tombstone", 2, None)
        own_redis.client().script_flush()
        balances.refresh(account_ids=[account_id(member.number)])
        assert cached(member.number) == ("value", 2, 150)

    def test_scripts_forgotten_before_every_exchange_are_no_failure(
        self, member: Member, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, failures, send_once = own_redis.client(), count(metrics.REDIS_FAILURES), _redis._send_once

        def send_once_flushed(*args: Any) -> list[Any]:
            client.script_flush()
            return send_once(*args)

        monkeypatch.setattr(_redis, "_send_once", send_once_flushed)
        member.earns(100)
        assert cached(member.number) == ("tombstone", 1, None)
        balances.refresh(account_ids=[account_id(member.number)])
        assert cached(member.number) == ("value", 1, 100)
        assert count(metrics.REDIS_FAILURES) == failures
        assert not breaker_is_open()

    def test_full_redis_is_as_good_as_none(self, member: Member, own_redis: OwnRedis) -> None:
        client = own_redis.client()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        member.earns(100)
        assert breaker_is_open()
        assert balances.read(account_number=member.number).available == 100
        client.config_set("maxmemory", "0")
        wait_until(lambda: not breaker_is_open())
        assert cached(member.number) == ("tombstone", 1, None)


class _Stepped:
    """A read of PostgreSQL that stops after it has read, until it is let go; it counts itself."""

    def __init__(self) -> None:
        self.has_read = threading.Event()
        self.may_end = threading.Event()
        self.times = 0

    def __call__(self, number: str, found: bytes | None) -> VersionedBalance:
        self.times += 1
        balance = balance_in_postgresql(number)
        self.has_read.set()
        assert self.may_end.wait(10)
        return balance


class _JoinsAnything:
    """Single flight as it is usually written: whoever comes joins what is under way."""

    def __init__(self, read: Callable[[str, bytes | None], VersionedBalance]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._flights: dict[str, Any] = {}

    def read(self, number: str, *, found: bytes | None) -> VersionedBalance:
        with self._lock:
            flight = self._flights.get(number)
            if flight is None:
                self._flights[number] = flight = beside(self._read, number, found)
        balance: VersionedBalance = flight.result(timeout=10)
        return balance


class TestSingleFlight:
    def test_stampede_reads_postgresql_twice(self, member: Member) -> None:
        member.earns(100)
        stepped = _Stepped()
        flights = SingleFlight(stepped)
        first = beside(flights.read, member.number, found=None)
        assert stepped.has_read.wait(10)
        others = [beside(flights.read, member.number, found=None) for _ in range(30)]
        wait_until(lambda: member.number in flights._boarding)
        time.sleep(0.2)
        stepped.may_end.set()
        assert {read.result(10).record.available for read in [first, *others]} == {100}
        # The one under way, and the one that all others waited for.
        assert stepped.times == 2
        assert flights._boarding == flights._under_way == {}

    def test_control_every_reader_for_itself_reads_it_each_time(self, member: Member) -> None:
        member.earns(100)
        stepped = _Stepped()
        stepped.may_end.set()
        assert {beside(stepped, member.number, None).result(10).record.available for _ in range(31)} == {100}
        assert stepped.times == 31

    def test_nobody_joins_a_read_that_began_before_its_write(self, member: Member) -> None:
        member.earns(100)
        stepped = _Stepped()
        flights = SingleFlight(stepped)
        early = beside(flights.read, member.number, found=None)
        assert stepped.has_read.wait(10)
        member.earns(50)
        told = beside(flights.read, member.number, found=None)
        stepped.may_end.set()
        assert early.result(10).record.available == 100
        assert told.result(10).record.available == 150

    def test_control_joining_what_is_under_way_shows_the_balance_from_before(self, member: Member) -> None:
        member.earns(100)
        stepped = _Stepped()
        flights = _JoinsAnything(stepped)
        early = beside(flights.read, member.number, found=None)
        assert stepped.has_read.wait(10)
        member.earns(50)
        told = beside(flights.read, member.number, found=None)
        stepped.may_end.set()
        assert early.result(10).record.available == 100
        assert told.result(10).record.available == 100

    def test_failed_read_fails_nobody_else(self, member: Member) -> None:
        member.earns(100)
        turns = iter([1, 0])
        entered = threading.Event()

        def fails_once(number: str, found: bytes | None) -> VersionedBalance:
            if next(turns, 0):
                entered.set()
                time.sleep(0.1)
                raise ConnectionError("the first one fails")
            return balance_in_postgresql(number)

        flights = SingleFlight(fails_once)
        first = beside(flights.read, member.number, found=None)
        assert entered.wait(10)
        second = beside(flights.read, member.number, found=None)
        with pytest.raises(ConnectionError):
            first.result(10)
        assert second.result(10).record.available == 100


class TestTwoProcesses:
    def test_forked_child_uses_no_connection_of_its_parent(self, member: Member, own_redis: OwnRedis) -> None:
        """Two processes on one socket would read each other's answers."""
        import os

        member.earns(100)
        parents = dict(_redis._thread.connections)
        assert parents
        child = os.fork()
        if child == 0:
            is_clean = _redis._thread.connections == {} and not _redis.breaker.is_open
            os._exit(0 if is_clean else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert _redis._thread.connections == parents
        assert cached(member.number)[0] == "tombstone"

    def test_balance_of_one_is_the_balance_of_all(self, own_redis: OwnRedis) -> None:
        number = account_number()
        assert queries.balance(account_number=number).available == 0
        assert key_of(number) == f"points:balance:ledger:0:{number}".encode()
