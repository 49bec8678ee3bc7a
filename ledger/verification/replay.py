"""The whole history once more, entry by entry: what only the order of events can prove.

One statement brings all entries with their allocations, account by account in the order of their
sequence, and is read as a stream. Kept in memory are the open lots of one account at a time, so the
memory does not grow with the ledger. This is not the allocator of `ledger.allocation`: a rule that
is wrong there must not be wrong here in the same way.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any, cast
from uuid import UUID

import psycopg
from django.db import connection
from psycopg import capabilities

from ledger.database import fetch_all
from ledger.verification.collector import Collector

# Instants come as seconds since 1970 in double precision: microseconds are exact until 2255, and a
# float is read several times faster than a datetime. Ids come as bytes, which sort as uuids do.
_HISTORY = """
SELECT entry.account_id, entry.sequence, entry.kind, entry.points, entry.balance_after,
    date_part('epoch', entry.recorded_at), allocation.position, allocation.points,
    uuid_send(allocation.lot_id), lot.points, date_part('epoch', lot.expires_at),
    date_part('epoch', lot.earned_at), lot.entry_id = entry.id, lot.account_id, {decided}
FROM ledger_entry AS entry
{operations}
LEFT JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
LEFT JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
ORDER BY entry.account_id, entry.sequence, entry.id, allocation.position
"""
# Whether another side decided, and whether the ledger did within bounds (`ledger.bounds`): then some rules
# were another's. A ledger that always stood alone need not be asked for each entry.
_WITH_ANOTHER_SIDE = (
    "SELECT EXISTS (SELECT FROM ledger_operation WHERE decided_elsewhere OR stage IS NOT NULL)"
)
_HISTORY_ALONE = _HISTORY.format(decided="false, false", operations="")
_HISTORY_OF_BOTH = _HISTORY.format(
    decided="coalesce(operation.decided_elsewhere, false), operation.stage IS NOT NULL",
    operations="LEFT JOIN ledger_operation AS operation ON operation.id = entry.operation_id",
)

_ROWS_AT_ONCE = 2000
_EVER = float("inf")
_ADDING = frozenset({"earn", "spend_cancel", "transfer_in"})
#: These take lots in the order of spending; a cancelled earn takes its own lots, expiry what lapsed.
_IN_SPENDING_ORDER = frozenset({"spend", "transfer_out", "clawback", "adjust"})

CHECKS = {
    "account_points_conserved": (
        "I1",
        "what entries brought and took is what remains in the lots of the account",
    ),
    "sequence_has_no_gap": ("I9", "an account's entries are numbered 1, 2, 3 and so on"),
    "balance_after_continues": ("I9", "balance_after is the one before plus the points of the entry"),
    "recorded_at_never_goes_back": (
        "I9",
        "entries of an account are recorded in the order of their sequence",
    ),
    "balance_after_not_negative": ("I2", "at no point of its history an account had less than nothing"),
    "lot_never_overdrawn": ("I2", "no entry takes more from a lot than was left in it at that moment"),
    "lot_never_overfilled": ("I3", "a lot never holds more than it granted"),
    "entry_has_allocations": ("I4", "every entry touches at least one lot"),
    "entry_sum_matches_allocations": ("I4", "the allocations of an entry sum to its points"),
    "entry_sign_matches_kind": ("I4", "the sign of an entry and of its allocations is that of its kind"),
    "allocation_lot_exists": ("I4", "every allocation names a lot"),
    "allocation_lot_of_same_account": ("I4", "an entry touches only lots of its own account"),
    "lot_granted_in_full": ("I4", "the entry that grants a lot puts all its points into it"),
    "lapsed_lot_is_not_taken": ("I5", "nothing but expiry takes from a lot at or after its expires_at"),
    "live_lot_is_not_expired": ("I5", "expiry takes nothing from a lot before its expires_at"),
    "lapsed_points_settled_first": ("I5", "what has lapsed is posted before any other entry of the account"),
    "taken_in_spending_order": ("I7", "soonest expiry first, then the oldest lot, then the lowest id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How much passed by: what is in the tables and did not pass by belongs to nothing."""

    allocations: int
    granted_lots: int


def replay(*, collector: Collector, say: Callable[[int], None], every: int = 250_000) -> Replayed:
    """Replay all entries into `collector`. Calls `say` with the number of rows done."""
    connection.ensure_connection()
    ((has_another_side,),) = fetch_all(_WITH_ANOTHER_SIDE)
    history = _HISTORY_OF_BOTH if has_another_side else _HISTORY_ALONE
    size = _ROWS_AT_ONCE if capabilities.has_stream_chunked() else 1
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(connection.connection) as cursor,
        # A stream that is left open keeps the connection to itself, and its rollback would wait for ever.
        closing(cast("Generator[Any, None, None]", cursor.stream(history, binary=True, size=size))) as rows,
    ):
        return _replay_rows(rows, collector, say, every)


def _replay_rows(
    rows: Iterable[tuple[Any, ...]], collector: Collector, say: Callable[[int], None], every: int
) -> Replayed:
    account = _Account(id=-1, collector=collector)
    allocations = granted = 0
    for done, row in enumerate(rows, start=1):
        position = row[6]
        if row[0] != account.id:
            account.end()
            granted += account.granted
            account = _Account(id=row[0], collector=collector)
        if row[1] != account.sequence or position is None or position <= account.position:
            if account.allocated != account.points:
                account.end_entry()
            account.begin_entry(row)
        if position is not None:
            account.allocate(row)
            allocations += 1
        if done % every == 0:
            say(done)
    account.end()
    return Replayed(allocations=allocations, granted_lots=granted + account.granted)


@dataclass(slots=True)
class _Account:
    """One account while its history passes by."""

    id: int
    collector: Collector
    sequence: int = 0
    balance: int = 0
    total: int = 0
    recorded_at: float = -_EVER
    #: What remains, of lots in which something does.
    remaining: dict[bytes, int] = field(default_factory=dict)
    #: Lots in spending order; one that is used up or lapsed goes when it comes to the top.
    order: list[tuple[float, float, bytes]] = field(default_factory=list)
    granted: int = 0
    kind: str = ""
    points: int = 0
    allocated: int = 0
    position: int = -1
    #: Of the entry that passes by: whose rules it followed.
    is_of_another: bool = False
    is_within_bounds: bool = False

    def begin_entry(self, row: tuple[Any, ...]) -> None:
        _, sequence, kind, points, balance_after, recorded_at, position = row[:7]
        self.is_of_another, self.is_within_bounds = row[14], row[15]
        if sequence != self.sequence + 1:
            self.note("sequence_has_no_gap", found=sequence)
        self.sequence, self.kind, self.points, self.allocated, self.position = sequence, kind, points, 0, -1
        if balance_after != self.balance + points:
            self.note(
                "balance_after_continues", before=self.balance, points=points, balance_after=balance_after
            )
        self.balance = balance_after
        self.total += points
        if balance_after < 0:
            self.note("balance_after_not_negative", balance_after=balance_after)
        if (points > 0) != (kind in _ADDING) and kind != "adjust":
            self.note("entry_sign_matches_kind", kind=kind, points=points)
        if recorded_at < self.recorded_at and not self.is_of_another:
            self.note(
                "recorded_at_never_goes_back", recorded_at=_text(recorded_at), before=_text(self.recorded_at)
            )
        self.recorded_at = max(recorded_at, self.recorded_at)
        if self.order and self.order[0][0] <= recorded_at and kind != "expire" and not self.is_of_another:
            self._check_settled()
        if position is None:
            self.note("entry_has_allocations", kind=kind, points=points)
            self.allocated = points

    def end_entry(self) -> None:
        if self.allocated != self.points:
            self.note("entry_sum_matches_allocations", points=self.points, allocated=self.allocated)

    def end(self) -> None:
        self.end_entry()
        # A run of the expire job may stop at an earlier instant than its own; nothing else may.
        if self.kind and self.kind != "expire" and not self.is_of_another:
            self._check_settled()
        in_lots = sum(self.remaining.values())
        if in_lots != self.total:
            self.note("account_points_conserved", points_of_entries=self.total, remaining_in_lots=in_lots)

    def allocate(self, row: tuple[Any, ...]) -> None:
        self.position, points, lot, lot_points, expires_at, earned_at, is_grant, owner = row[6:14]
        self.allocated += points
        if lot_points is None:
            self.note("allocation_lot_exists", lot=UUID(bytes=lot), points=points)
            return
        if owner != self.id:
            self.note("allocation_lot_of_same_account", lot=UUID(bytes=lot), points=points)
            return
        lapses = _EVER if expires_at is None else expires_at
        if points < 0:
            self._take(lot, points, lapses)
            return
        before = self.remaining.get(lot, 0)
        if is_grant:
            self.granted += 1
            if points != lot_points or before:
                self.note("lot_granted_in_full", lot=UUID(bytes=lot), granted=points, points=lot_points)
        elif self.kind != "spend_cancel" and not self.is_of_another:
            self.note("entry_sign_matches_kind", kind=self.kind, lot=UUID(bytes=lot), points=points)
        if before + points > lot_points:
            self.note(
                "lot_never_overfilled", lot=UUID(bytes=lot), remaining=before + points, points=lot_points
            )
        self.remaining[lot] = before + points
        if before <= 0:
            heappush(self.order, (lapses, earned_at, lot))

    def _take(self, lot: bytes, points: int, lapses: float) -> None:
        before = self.remaining.get(lot, 0)
        if self.is_of_another:
            # Its rules are not ours; that nothing is taken twice is.
            pass
        elif self.kind == "expire":
            if lapses > self.recorded_at:
                self.note("live_lot_is_not_expired", lot=UUID(bytes=lot), expires_at=_text(lapses))
        elif lapses <= self.recorded_at:
            self.note(
                "lapsed_lot_is_not_taken", kind=self.kind, lot=UUID(bytes=lot), expires_at=_text(lapses)
            )
        elif (
            self.kind in _IN_SPENDING_ORDER
            and not self.is_within_bounds
            and not (before > 0 and self.order[0][2] == lot)
        ):
            self._check_order(lot)
        if self.kind in _ADDING:
            self.note("entry_sign_matches_kind", kind=self.kind, lot=UUID(bytes=lot), points=points)
        after = before + points
        if after < 0:
            self.note("lot_never_overdrawn", lot=UUID(bytes=lot), remaining=before, taken=-points)
        if after:
            # Also below nothing, so that the sums of the account show it too.
            self.remaining[lot] = after
        else:
            del self.remaining[lot]

    def _first(self) -> tuple[float, float, bytes] | None:
        """The first lot of the order in which something is left."""
        order, remaining = self.order, self.remaining
        while order and remaining.get(order[0][2], 0) <= 0:
            heappop(order)
        return order[0] if order else None

    def _check_order(self, lot: bytes) -> None:
        first = self._first()
        while first is not None and first[0] <= self.recorded_at:
            # Lapsed, and noted as not settled: it is not in the way of the order.
            heappop(self.order)
            first = self._first()
        if first is not None and first[2] != lot:
            self.note(
                "taken_in_spending_order",
                kind=self.kind,
                taken_from=UUID(bytes=lot),
                before_it=UUID(bytes=first[2]),
                which_had=self.remaining[first[2]],
            )

    def _check_settled(self) -> None:
        first = self._first()
        if first is not None and first[0] <= self.recorded_at:
            self.note(
                "lapsed_points_settled_first",
                lot=UUID(bytes=first[2]),
                remaining=self.remaining[first[2]],
                expires_at=_text(first[0]),
            )

    def note(self, check: str, **numbers: Any) -> None:
        self.collector.note(check, account_id=self.id, sequence=self.sequence, **numbers)


def _text(seconds: float) -> str:
    return "never" if seconds == _EVER else datetime.fromtimestamp(seconds, UTC).isoformat()
