"""What the ledger decided, as the legacy is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ledger.database import fetch_all
from ledger.rules import DEFAULT_CANCEL_REASON
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.records import BY_LEGACY, CancelRequest, EarnRequest, Request, SpendRequest

# What was cancelled before is what the other side knows of: earlier cancels of the same operation, but for
# those that a person skipped.
_READ: Final = """
SELECT operation.id, operation.kind, operation.account_number, operation.points, reason.code,
    operation.reference, operation.recorded_at, operation.counterpart_id, touched.lots, touched.points,
    touched.expires_at, target.id, target.kind, target.points, target.counterpart_id,
    coalesce((
        SELECT sum(cancel.points)
        FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = target.id AND cancel.state = 'completed' AND cancel.id <> operation.id
            AND EXISTS (
                SELECT FROM ledger_entry AS entry
                WHERE entry.operation_id = cancel.id AND entry.sequence < touched.sequence
            )
            AND NOT EXISTS (
                SELECT FROM cutover_message AS message
                WHERE message.operation_id = cancel.id AND message.state = 'skipped'
            )
    ), 0)::bigint
FROM ledger_operation AS operation
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
LEFT JOIN ledger_operation AS target ON target.id = operation.cancels_id
CROSS JOIN LATERAL (
    SELECT min(entry.sequence) AS sequence,
        coalesce(array_agg(allocation.lot_id ORDER BY entry.sequence, allocation.position)
            FILTER (WHERE allocation.lot_id IS NOT NULL), '{}') AS lots,
        coalesce(array_agg(abs(allocation.points) ORDER BY entry.sequence, allocation.position)
            FILTER (WHERE allocation.lot_id IS NOT NULL), '{}') AS points,
        coalesce(array_agg(lot.expires_at ORDER BY entry.sequence, allocation.position)
            FILTER (WHERE allocation.lot_id IS NOT NULL), '{}') AS expires_at
    FROM ledger_entry AS entry
    LEFT JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
    LEFT JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
    -- What came back after it lapsed lapses at once, here by the same operation: the legacy was not told so.
    WHERE entry.operation_id = operation.id AND (entry.kind <> 'expire' OR operation.kind = 'expire')
) AS touched
WHERE operation.id = ANY (%s::uuid[])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """Points of one lot that were granted, taken or given back. Always positive."""

    lot: UUID
    points: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """The operation that a cancel is of, and what was cancelled of it before."""

    id: UUID
    kind: str
    points: int
    counterpart_id: str | None
    before: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A completed operation of the ledger's."""

    id: UUID
    kind: str
    account_number: str
    points: int
    reason: str | None
    reference: str | None
    recorded_at: datetime
    #: The legacy's row of it, once it was told.
    counterpart_id: str | None
    touched: tuple[Touched, ...]
    cancels: Cancelled | None

    @property
    def points_by_lot(self) -> dict[UUID, int]:
        found: dict[UUID, int] = {}
        for each in self.touched:
            found[each.lot] = found.get(each.lot, 0) + each.points
        return found


def read(operation_ids: Sequence[UUID]) -> dict[UUID, Decided]:
    """What was decided with these operations, by their ids."""
    rows = fetch_all(_READ, [list(operation_ids)]) if operation_ids else []
    return {row[0]: _of_row(row) for row in rows}


def _of_row(row: tuple[Any, ...]) -> Decided:
    target = row[11]
    return Decided(
        id=row[0],
        kind=row[1],
        account_number=row[2],
        points=row[3],
        reason=row[4],
        reference=row[5],
        recorded_at=row[6],
        counterpart_id=row[7],
        touched=tuple(
            Touched(lot=lot, points=points, expires_at=expires_at)
            for lot, points, expires_at in zip(row[8], row[9], row[10], strict=True)
        ),
        cancels=None
        if target is None
        else Cancelled(id=target, kind=row[12], points=row[13], counterpart_id=row[14], before=row[15]),
    )


def is_told(decided: Decided) -> bool:
    """Whether the legacy has to be told at all: points lapse there by themselves."""
    return decided.kind != "expire"


def request_of(decided: Decided, adapter: LegacyAdapter, *, rows: Mapping[UUID, str]) -> Request:
    """What the legacy is asked to do. `rows` are rows that it made a moment ago, by operation.

    Raises NotRepresentable for what it has no form for.
    """
    told: dict[str, Any] = {
        "operation_id": decided.id,
        "account_number": decided.account_number,
        "points": decided.points,
        "reference": decided.reference,
    }
    match decided.kind:
        case "earn":
            expires_at = decided.touched[0].expires_at if adapter.takes_expires_at else BY_LEGACY
            return EarnRequest(**told, reason=decided.reason or "", expires_at=expires_at)
        case "spend":
            return SpendRequest(**told, reason=decided.reason or "")
        case "earn_cancel" | "spend_cancel" if decided.cancels is not None:
            row = rows.get(decided.cancels.id) or decided.cancels.counterpart_id
            if row is None:
                raise NotRepresentable(f"The legacy has no row of operation {decided.cancels.id}.")
            return CancelRequest(
                **told,
                reason=decided.reason or DEFAULT_CANCEL_REASON,
                is_of_spend=decided.kind == "spend_cancel",
                cancelled_row_id=row,
                cancelled_points=decided.cancels.points,
                already_cancelled_points=decided.cancels.before,
            )
    raise NotRepresentable(f"The legacy has no form for: {decided.kind}.")


def payload_of(decided: Decided) -> dict[str, Any]:
    """What the legacy is told, as JSON."""
    cancels = decided.cancels
    return {
        "operation_id": str(decided.id),
        "kind": decided.kind,
        "account_number": decided.account_number,
        "points": decided.points,
        "reason": decided.reason,
        "reference": decided.reference,
        "recorded_at": decided.recorded_at.isoformat(),
        "lots": [
            [str(each.lot), each.points, each.expires_at.isoformat() if each.expires_at else None]
            for each in decided.touched
        ],
        "cancels": None
        if cancels is None
        else {
            "operation_id": str(cancels.id),
            "points": cancels.points,
            "cancelled_before": cancels.before,
            "legacy_row": cancels.counterpart_id,
        },
    }
