"""How a balance stands in Redis: checked on its way out, so that nothing corrupt is ever shown.

The body is the JSON that clients get, without account number and `as_of`: a hit is answered by
joining bytes. The checksum covers the account number too; a value under another's key is corrupt.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from ledger.balances.window import day_ends_at
from ledger.records import BalanceRecord, PointsAt, PointsBefore

#: A tombstone can get lost, so a value lives no longer than this.
LONGEST_LIFE = timedelta(seconds=60)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MILLISECOND = timedelta(milliseconds=1)


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    available: int
    expiring_soon: PointsBefore | None
    next_expiry: PointsAt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """The balance changed with entry `sequence`; whoever reads this reads PostgreSQL."""

    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    sequence: int
    valid_until_microseconds: int
    body: bytes

    @property
    def valid_until(self) -> datetime:
        return _EPOCH + self.valid_until_microseconds * _MICROSECOND

    def is_valid(self, *, now: datetime) -> bool:
        """Whether no point has lapsed since, and no day of the window has ended."""
        return microseconds(now) < self.valid_until_microseconds

    def record(self, *, account_number: str, as_of: datetime) -> BalanceRecord:
        body = _decoder.decode(self.body)
        return BalanceRecord(
            account_number=account_number,
            available=body.available,
            expiring_soon=body.expiring_soon,
            next_expiry=body.next_expiry,
            as_of=as_of,
        )

    def json(self, *, account_number: str, as_of: datetime) -> bytes:
        """The record as JSON, joined from the stored body."""
        return b'{"account_number":%b,%b,"as_of":%b}' % (
            msgspec.json.encode(account_number),
            self.body[1:-1],
            msgspec.json.encode(as_of),
        )


_decoder = msgspec.json.Decoder(_Body)


def microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def valid_until(record: BalanceRecord) -> datetime:
    """When `record` stops being what it says: at the next expiry, with the day, or by its age."""
    instants = [record.as_of + LONGEST_LIFE, day_ends_at(now=record.as_of)]
    if record.next_expiry is not None:
        instants.append(record.next_expiry.at)
    return min(instants)


def encode(record: BalanceRecord, *, sequence: int) -> tuple[bytes, int]:
    """What is stored, and for how many milliseconds from `as_of`."""
    until = valid_until(record)
    body = msgspec.json.encode(
        _Body(available=record.available, expiring_soon=record.expiring_soon, next_expiry=record.next_expiry)
    )
    ends = microseconds(until)
    checksum = _checksum(record.account_number, sequence, ends, body)
    milliseconds = max(1, (until - record.as_of) // _MILLISECOND)
    return b"1 %d %d %08x %b" % (sequence, ends, checksum, body), milliseconds


def decode(raw: object, *, account_number: str) -> Value | Tombstone | None:
    """What was stored; None for anything that is neither a value of this account nor a tombstone."""
    if not isinstance(raw, bytes):
        return None
    parts = raw.split(b" ", 4)
    try:
        if parts[0] != b"1" or not parts[1].isdigit():
            return None
        sequence = int(parts[1])
        if len(parts) == 3 and parts[2] == b"-":
            return Tombstone(sequence=sequence)
        _, _, until, checksum, body = parts
        if int(checksum, 16) != _checksum(account_number, sequence, int(until), body):
            return None
        return Value(sequence=sequence, valid_until_microseconds=int(until), body=body)
    except (ValueError, IndexError):
        return None


def _checksum(account_number: str, sequence: int, until: int, body: bytes) -> int:
    return zlib.crc32(b"%b %d %d %b" % (account_number.encode(), sequence, until, body))


def json_of(record: BalanceRecord) -> bytes:
    """The same JSON as `Value.json`, of a record that does not come from Redis."""
    return msgspec.json.encode(record)
