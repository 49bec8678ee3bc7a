"""Balances in Redis, by account number: note that they changed, read them, set them by version."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ledger.balances import _format, _protocol, _redis
from ledger.balances._format import Tombstone, Value
from ledger.records import BalanceRecord

#: Whose balances these are, and under which routing: another decider's never mix with them.
_SIDE = "ledger"
_EPOCH = 0

_PREFIX = f"points:balance:{_SIDE}:{_EPOCH}:"


def key_of(account_number: str) -> bytes:
    return (_PREFIX + account_number).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionedBalance:
    """A balance as PostgreSQL had it, with its version: the sequence of the account."""

    record: BalanceRecord
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedBalance:
    """What Redis holds for an account, as it stands, for whoever checks it against the ledger.

    `available` and `valid_until` only for a value; `sequence` also for a tombstone.
    """

    account_number: str
    state: Literal["absent", "value", "tombstone", "corrupt"]
    sequence: int | None = None
    available: int | None = None
    valid_until: datetime | None = None


def note_changes(changes: Iterable[tuple[str, int]]) -> bool:
    """Write tombstones (account number, new sequence), in one round trip.

    False when Redis did not answer: then they are kept, and written as soon as it does.
    """
    versions: dict[bytes, int] = {}
    for account_number, sequence in changes:
        key = key_of(account_number)
        versions[key] = max(sequence, versions.get(key, 0))
    while True:
        if _redis.breaker.is_open and _redis.breaker.keep(versions):
            return False
        try:
            _redis.exchange(*_protocol.tombstones(versions))
            return True
        except _redis.RedisUnavailable:
            # The breaker is open now, and keeps them; or has closed again already.
            continue


def get(account_number: str) -> bytes | object | None:
    """What stands there: bytes, None for nothing, or something else entirely.

    Raises RedisUnavailable.
    """
    (raw,) = _redis.exchange(*_protocol.gets([key_of(account_number)]), errors_are_replies=True)
    return raw


def put(
    balances: Sequence[VersionedBalance], *, found: bytes = b"", timeout_seconds: float | None = None
) -> None:
    """Set values, each unless a newer version is there. Raises RedisUnavailable.

    `found` is what stood there before the one balance was read from PostgreSQL.
    """
    values = []
    for balance in balances:
        value, milliseconds = _format.encode(balance.record, sequence=balance.sequence)
        key = key_of(balance.record.account_number)
        values.append(_protocol.VersionedValue(key, balance.sequence, milliseconds, value, found))
    if values:
        _redis.exchange(*_protocol.values(values), timeout_seconds=timeout_seconds)


def peek(*, account_numbers: Sequence[str]) -> list[CachedBalance]:
    """What Redis holds for these accounts, in their order, valid or not. Raises RedisUnavailable."""
    if not account_numbers:
        return []
    keys = [key_of(account_number) for account_number in account_numbers]
    raws = _redis.exchange(*_protocol.gets(keys), errors_are_replies=True)
    return [_cached(account_number, raw) for account_number, raw in zip(account_numbers, raws, strict=True)]


def _cached(account_number: str, raw: object) -> CachedBalance:
    if raw is None:
        return CachedBalance(account_number=account_number, state="absent")
    match _format.decode(raw, account_number=account_number):
        case Tombstone(sequence=sequence):
            return CachedBalance(account_number=account_number, state="tombstone", sequence=sequence)
        case Value() as value:
            return CachedBalance(
                account_number=account_number,
                state="value",
                sequence=value.sequence,
                available=value.record(account_number=account_number, as_of=value.valid_until).available,
                valid_until=value.valid_until,
            )
        case None:
            return CachedBalance(account_number=account_number, state="corrupt")
