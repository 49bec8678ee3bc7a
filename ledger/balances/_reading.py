"""A balance for whoever asks: from Redis when it is surely right, else from PostgreSQL.

A cached balance never decides a spend; the ledger reads its own rows for that.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from ledger import clock, queries
from ledger.balances import _format, _store, metrics
from ledger.balances._format import Tombstone, Value
from ledger.balances._redis import RedisUnavailable
from ledger.balances._store import VersionedBalance
from ledger.balances.guard import is_inside_transaction
from ledger.records import BalanceRecord

Answer = TypeVar("Answer")

#: Longer than PostgreSQL takes; whoever waited for another's read in vain then reads by itself.
_WAIT_SECONDS = 2.0


def read(*, account_number: str) -> BalanceRecord:
    """What can be spent now. A never-seen account has 0.

    One GET of Redis when it holds the balance. Whoever was told of a write reads it, or a later
    one. Raises DatabaseError where PostgreSQL is needed and does not answer.
    """
    return _answer(account_number, from_value=Value.record, from_record=lambda record: record)


def read_json(*, account_number: str) -> bytes:
    """The same as JSON, with the fields of BalanceRecord in their order and times in UTC.

    A hit joins bytes and builds no record.
    """
    return _answer(account_number, from_value=Value.json, from_record=_format.json_of)


def _answer(
    account_number: str,
    *,
    from_value: Callable[..., Answer],
    from_record: Callable[[BalanceRecord], Answer],
) -> Answer:
    if is_inside_transaction():
        # What this transaction wrote is nobody else's balance yet: neither read around it nor cache it.
        return from_record(queries.balance(account_number=account_number))
    # Before Redis is asked, so that the answer was true at its instant.
    now = clock.now()
    try:
        raw = _store.get(account_number)
    except RedisUnavailable:
        metrics.UNAVAILABLE.inc()
        return from_record(_truth.read(account_number, found=None).record)
    value = _usable(raw, account_number, now)
    if value is not None:
        metrics.HITS.inc()
        return from_value(value, account_number=account_number, as_of=now)
    return from_record(_truth.read(account_number, found=raw if isinstance(raw, bytes) else b"").record)


def _usable(raw: object, account_number: str, now: datetime) -> Value | None:
    """The value in `raw` if it may be shown at `now`; what it was instead is counted."""
    if raw is None:
        metrics.MISSES.inc()
        return None
    value = _format.decode(raw, account_number=account_number)
    if value is None:
        metrics.CORRUPT.inc()
        return None
    if isinstance(value, Tombstone):
        metrics.TOMBSTONES.inc()
        return None
    if not value.is_valid(now=now):
        # Redis counts seconds; what lapses is decided by the clock of the business alone.
        metrics.LAPSED.inc()
        return None
    return value


class _Flight:
    """One read of PostgreSQL that several callers wait for."""

    __slots__ = ("balance", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.balance: VersionedBalance | None = None


class SingleFlight:
    """At most one read per account at a time in this process, and one that waits its turn.

    A caller joins only a read that has not begun: one under way may have begun before the write
    that the caller was told of, and would show it the balance from before.
    """

    def __init__(self, read: Callable[[str, bytes | None], VersionedBalance]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._under_way: dict[str, _Flight] = {}
        self._boarding: dict[str, _Flight] = {}

    def read(self, account_number: str, *, found: bytes | None) -> VersionedBalance:
        with self._lock:
            earlier = self._under_way.get(account_number)
            flight = self._boarding.get(account_number)
            leads = flight is None
            if flight is None:
                flight = _Flight()
                # With nothing under way it begins at once, and nobody can board.
                (self._boarding if earlier else self._under_way)[account_number] = flight
        if leads:
            return self._lead(account_number, flight, earlier, found)
        flight.landed.wait(2 * _WAIT_SECONDS)
        return flight.balance or self._read(account_number, found)

    def _lead(
        self, account_number: str, flight: _Flight, earlier: _Flight | None, found: bytes | None
    ) -> VersionedBalance:
        if earlier is not None:
            earlier.landed.wait(_WAIT_SECONDS)
            with self._lock:
                del self._boarding[account_number]
                self._under_way[account_number] = flight
        try:
            flight.balance = self._read(account_number, found)
            return flight.balance
        finally:
            with self._lock:
                if self._under_way.get(account_number) is flight:
                    del self._under_way[account_number]
            flight.landed.set()


def _read_and_keep(account_number: str, found: bytes | None) -> VersionedBalance:
    """Read PostgreSQL, and give Redis what was read, when Redis was reachable (`found` is not None)."""
    record, sequence = queries.balance_with_sequence(account_number=account_number)
    balance = VersionedBalance(record=record, sequence=sequence)
    if found is not None:
        try:
            _store.put([balance], found=found)
        except RedisUnavailable:
            # The answer is right all the same.
            metrics.UNAVAILABLE.inc()
    return balance


_truth = SingleFlight(_read_and_keep)
