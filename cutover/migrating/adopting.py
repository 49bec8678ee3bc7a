"""The operations of many rows at once: those that are known, and new ones for rows that no call made."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cutover import identifiers
from cutover.migrating.sharing import Line
from ledger import policies
from ledger.clients import legacy_client_id
from ledger.database import fetch_all
from ledger.models import EntryKind
from ledger.operations import following
from ledger.operations.elsewhere import Adopted
from legacy_bridge.records import HistoryRow, RowKind

_KNOWN: Final = """
SELECT counterpart_id, id, kind, recorded_at, reason_id, cancels_id, decided_elsewhere
FROM ledger_operation
WHERE counterpart_id = ANY (%s) OR (id = ANY (%s::uuid[]) AND state = 'completed')
"""
_CANCELLED_SO_FAR: Final = """
SELECT operation.id, operation.kind, operation.points - coalesce((
    SELECT sum(cancel.points) FROM ledger_operation AS cancel
    WHERE cancel.cancels_id = operation.id AND cancel.state = 'completed'
), 0)
FROM ledger_operation AS operation
WHERE operation.id = ANY (%s::uuid[]) AND operation.state = 'completed'
"""
_TAKING: Final = (RowKind.SPEND, RowKind.EARN_CANCEL, RowKind.EXPIRE)
_CANCELLED_KIND: Final = {RowKind.EARN_CANCEL: "earn", RowKind.SPEND_CANCEL: "spend"}


@dataclass(frozen=True, slots=True)
class _Known:
    id: UUID
    kind: str
    recorded_at: datetime
    reason_id: int | None
    cancels_id: UUID | None
    decided_elsewhere: bool


def lines_of(
    rows: Sequence[HistoryRow], *, lots: Mapping[str, UUID]
) -> tuple[dict[str, list[Line]], list[Adopted]]:
    """By account: its rows as operations, in their order; and those operations that are still to be adopted.

    `lots` are the ids of the legacy's lots. Asked once no call of these accounts is under way.
    """
    known, by_id = _known(rows)
    adopted = _Adopting(rows, known=known, by_id=by_id, lots=lots)
    here = following.posted([adopted.id_of[row.row_id] for row in rows if row.row_id in known])
    lines: dict[str, list[Line]] = {}
    for row in rows:
        lines.setdefault(row.account_number, []).append(adopted.line(row, here))
    return lines, adopted.new


def _known(rows: Sequence[HistoryRow]) -> tuple[dict[str, _Known], dict[UUID, _Known]]:
    given = {row.operation_id: row.row_id for row in rows if row.operation_id}
    named = {row.row_id for row in rows} | {row.cancels_row_id for row in rows if row.cancels_row_id}
    known: dict[str, _Known] = {}
    by_id: dict[UUID, _Known] = {}
    for counterpart_id, *values in fetch_all(_KNOWN, [list(named), list(given)]):
        operation = _Known(*values)
        by_id[operation.id] = operation
        row_id = counterpart_id if counterpart_id in named else given.get(operation.id)
        if row_id is not None:
            known[row_id] = operation
    return known, by_id


class _Adopting:
    def __init__(
        self,
        rows: Sequence[HistoryRow],
        *,
        known: Mapping[str, _Known],
        by_id: Mapping[UUID, _Known],
        lots: Mapping[str, UUID],
    ) -> None:
        self.known = known
        self.lots = lots
        self.client_id = legacy_client_id()
        self.reasons = {code: found[0].id for code, found in policies.current().reasons.items()}
        self.id_of = {
            row.row_id: known[row.row_id].id if row.row_id in known else identifiers.operation_id(row.row_id)
            for row in rows
        }
        #: Of what can be cancelled: its kind, its account and what may still be cancelled of it.
        self.cancellable: dict[UUID, tuple[str, int]] = {}
        self._read_cancellable(rows)
        self.cancels: dict[str, UUID] = {}
        self.new = [self._adopt(row) for row in rows if row.row_id not in known]

    def _read_cancellable(self, rows: Sequence[HistoryRow]) -> None:
        targets = {row.cancels_row_id for row in rows if row.cancels_row_id}
        before = [self.known[row_id].id for row_id in targets if row_id in self.known]
        if before:
            for operation_id, kind, points in fetch_all(_CANCELLED_SO_FAR, [before]):
                self.cancellable[operation_id] = (kind, int(points))

    def _adopt(self, row: HistoryRow) -> Adopted:
        operation_id = self.id_of[row.row_id]
        kind = _kind(row)
        points = row.points if kind == "adjust" else abs(row.points)
        if kind in ("earn", "spend"):
            self.cancellable[operation_id] = (kind, points)
        cancels_id = self._cancelled(row, points)
        if cancels_id is not None:
            self.cancels[row.row_id] = cancels_id
        return Adopted(
            id=operation_id,
            client_id=self.client_id,
            kind=kind,
            account_number=row.account_number,
            points=points,
            reason_id=self.reasons.get(row.reason) if row.reason else None,
            reference=row.reference,
            recorded_at=row.recorded_at,
            cancels_id=cancels_id,
            balance_after=row.balance_after,
            counterpart_id=row.row_id,
            shares=self._stored(row),
        )

    def _cancelled(self, row: HistoryRow, points: int) -> UUID | None:
        """What a row cancels: something of its kind, that is there, and of which so much was left."""
        target = row.cancels_row_id
        if target is None or row.kind not in _CANCELLED_KIND:
            return None
        found = self.known[target].id if target in self.known else self.id_of.get(target)
        kind, left = self.cancellable.get(found, ("", 0)) if found else ("", 0)
        if found is None or kind != _CANCELLED_KIND[row.kind] or left < points:
            return None
        self.cancellable[found] = (kind, left - points)
        return found

    def _stored(self, row: HistoryRow) -> list[Any] | None:
        if row.shares is None:
            return None
        return [
            [
                str(self.lots[share.lot_id]),
                share.points,
                share.expires_at.isoformat() if share.expires_at else None,
            ]
            for share in row.shares
        ]

    def line(self, row: HistoryRow, here: Collection[UUID]) -> Line:
        known = self.known.get(row.row_id)
        shares = None
        if row.shares is not None:
            shares = [(self.lots[share.lot_id], share.points, share.expires_at) for share in row.shares]
        return Line(
            row_id=row.row_id,
            operation_id=self.id_of[row.row_id],
            entry_id=identifiers.entry_id(row.row_id),
            kind=EntryKind(known.kind if known else _kind(row)),
            points=row.points,
            # An operation and its entry have one moment: that of whoever was told first.
            recorded_at=known.recorded_at if known else row.recorded_at,
            reason_id=known.reason_id if known else self.reasons.get(row.reason or ""),
            cancels_id=known.cancels_id if known else self.cancels.get(row.row_id),
            shares=shares,
            is_here=known is not None and (not known.decided_elsewhere or known.id in here),
        )


def _kind(row: HistoryRow) -> str:
    """The kind of a row; one that moves points the other way than its kind does is an adjust."""
    if row.kind is RowKind.ADJUST or not row.points:
        return row.kind.value
    return row.kind.value if (row.points < 0) == (row.kind in _TAKING) else RowKind.ADJUST.value
