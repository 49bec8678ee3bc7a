"""Operations with everything that they did: entries, and which lots gave or got the points.

Each allocation is shown from both sides: what a spend took tells by which earning it was granted, and
what an earning granted tells which operations its points went to.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from ledger.database import fetch_all, from_jsonb

#: So many lots of one entry, and so many moves of one lot, stand on a line; the rest is one click away.
SHOWN_ON_A_LINE: Final = 8
#: On the page of one operation or one lot.
SHOWN_ON_A_PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LotMove:
    """Points of one lot in one entry, signed, with where the lot came from."""

    lot: UUID
    points: int
    lot_points: int
    earned_at: datetime
    expires_at: datetime | None
    #: The operation that granted the lot; for a lot with an origin, that of the origin is one click away.
    granted_by: UUID
    granted_kind: str
    granted_reason: str
    granted_reference: str | None
    origin: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The same from the side of the lot: the entry that touched it."""

    operation_id: UUID
    kind: str
    points: int
    recorded_at: datetime
    reason: str | None
    reference: str | None
    account_number: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    id: UUID
    kind: str
    points: int
    balance_after: int
    recorded_at: datetime
    account_number: str
    lots: Sequence[LotMove]
    #: Points of further lots that are not shown here, signed.
    other_points: int
    #: Where the points of the lot that this entry granted went, newest first: (points, ...).
    went: Sequence[Move] = ()
    remaining: int | None = None
    went_further: bool = False

    @property
    def is_grant(self) -> bool:
        return self.remaining is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    operation_id: UUID
    points: int
    recorded_at: datetime
    state: str
    uncollected_points: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DebtLine:
    points: int
    recorded_at: datetime


@dataclass(slots=True, kw_only=True)
class OperationLine:
    id: UUID
    kind: str
    state: str
    account_number: str
    to_account_number: str | None
    points: int
    reason: str | None
    reference: str | None
    recorded_at: datetime
    cancels: UUID | None
    balance_after: int | None
    uncollected_points: int | None
    refusal: dict[str, Any] | None
    actor: str | None
    client: str
    idempotency_key: str
    note: str | None
    decided_elsewhere: bool
    #: Lots as another side told of them: [[lot, points, expires_at], ...]; None where it told nothing.
    told_shares: Sequence[Sequence[Any]] | None
    entries: list[EntryLine] = field(default_factory=list)
    cancelled_by: list[Cancel] = field(default_factory=list)
    debts: list[DebtLine] = field(default_factory=list)

    @property
    def at(self) -> datetime:
        return self.recorded_at

    @property
    def cancellable_points(self) -> int:
        """What can still be cancelled of it."""
        if self.kind not in ("earn", "spend") or self.state != "completed":
            return 0
        return self.points - sum(one.points for one in self.cancelled_by if one.state == "completed")


_OPERATIONS: Final = """
SELECT operation.id, operation.kind, operation.state, operation.account_number,
    operation.to_account_number, operation.points, reason.code, operation.reference,
    operation.recorded_at, operation.cancels_id, operation.balance_after, operation.uncollected_points,
    operation.refusal, operation.actor, client.name, operation.idempotency_key, operation.metadata,
    operation.decided_elsewhere, operation.shares
FROM ledger_operation AS operation
JOIN ledger_client AS client ON client.id = operation.client_id
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE operation.id = ANY (%s::uuid[])
"""
_CANCELS: Final = """
SELECT cancels_id, id, points, recorded_at, state, uncollected_points
FROM ledger_operation WHERE cancels_id = ANY (%s::uuid[]) ORDER BY id
"""
_DEBTS: Final = """
SELECT operation_id, points, recorded_at FROM ledger_debt WHERE operation_id = ANY (%s::uuid[]) ORDER BY id
"""
_ENTRIES: Final = """
SELECT entry.id, entry.operation_id, entry.kind, entry.points, entry.balance_after, entry.recorded_at,
    account.account_number
FROM ledger_entry AS entry JOIN ledger_account AS account ON account.id = entry.account_id
WHERE entry.operation_id = ANY (%(operations)s::uuid[]) {of_account}
ORDER BY entry.account_id, entry.sequence
"""
_LOT_MOVES: Final = """
SELECT allocation.entry_id, lot.id, allocation.points, lot.points, lot.earned_at, lot.expires_at,
    granting.operation_id, granted.kind, reason.code, granted.reference, lot.origin_id
FROM ledger_allocation AS allocation
JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
JOIN ledger_entry AS granting ON granting.id = lot.entry_id
JOIN ledger_operation AS granted ON granted.id = granting.operation_id
JOIN ledger_reason AS reason ON reason.id = lot.reason_id
WHERE allocation.entry_id = ANY (%s::uuid[]) AND allocation.position < %s
ORDER BY allocation.entry_id, allocation.position
"""
# Ids grow with time, so the newest entries come first without a look at their rows.
_WENT: Final = """
SELECT lot.id, lot.entry_id, coalesce(open.remaining, 0), move.*
FROM ledger_lot AS lot
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
LEFT JOIN LATERAL (
    SELECT entry.operation_id, entry.kind, allocation.points, entry.recorded_at, reason.code,
        operation.reference, operation.account_number, entry.id
    FROM ledger_allocation AS allocation
    JOIN ledger_entry AS entry ON entry.id = allocation.entry_id
    JOIN ledger_operation AS operation ON operation.id = entry.operation_id
    LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
    WHERE allocation.lot_id = lot.id AND allocation.entry_id <> lot.entry_id
    ORDER BY allocation.entry_id DESC
    LIMIT %(limit)s
) AS move ON true
WHERE lot.id = ANY (%(lots)s::uuid[])
ORDER BY lot.id, move.id DESC
"""


def operation_lines(
    *, operation_ids: Collection[UUID], account_id: int | None = None, shown: int = SHOWN_ON_A_LINE
) -> dict[UUID, OperationLine]:
    """These operations by id, with their entries (of one account, where it is named). Raises DatabaseError.

    Of each entry, `shown` lots at most; what the others are is their sum.
    """
    ids = list(operation_ids)
    if not ids:
        return {}
    lines = {row[0]: _line(row) for row in fetch_all(_OPERATIONS, [ids])}
    for row in fetch_all(_CANCELS, [ids]):
        lines[row[0]].cancelled_by.append(
            Cancel(
                operation_id=row[1],
                points=row[2],
                recorded_at=row[3].astimezone(UTC),
                state=row[4],
                uncollected_points=row[5],
            )
        )
    for row in fetch_all(_DEBTS, [ids]):
        lines[row[0]].debts.append(DebtLine(points=row[1], recorded_at=row[2].astimezone(UTC)))
    _add_entries(lines, account_id=account_id, shown=shown)
    return lines


def _line(row: tuple[Any, ...]) -> OperationLine:
    metadata = from_jsonb(row[16])
    note = metadata.get("note") if isinstance(metadata, dict) else None
    return OperationLine(
        id=row[0],
        kind=row[1],
        state=row[2],
        account_number=row[3],
        to_account_number=row[4],
        points=row[5],
        reason=row[6],
        reference=row[7],
        recorded_at=row[8].astimezone(UTC),
        cancels=row[9],
        balance_after=row[10],
        uncollected_points=row[11],
        refusal=from_jsonb(row[12]),
        actor=row[13],
        client=row[14],
        idempotency_key=row[15],
        note=note if isinstance(note, str) else None,
        decided_elsewhere=row[17],
        told_shares=from_jsonb(row[18]),
    )


def _add_entries(lines: dict[UUID, OperationLine], *, account_id: int | None, shown: int) -> None:
    of_account = "AND entry.account_id = %(account)s" if account_id is not None else ""
    given: dict[str, Any] = {"operations": list(lines)}
    if account_id is not None:
        given["account"] = account_id
    entries = fetch_all(_ENTRIES.format(of_account=of_account), given)
    moves: dict[UUID, list[LotMove]] = defaultdict(list)
    entry_ids = [row[0] for row in entries]
    for row in fetch_all(_LOT_MOVES, [entry_ids, shown]) if entry_ids else []:
        moves[row[0]].append(
            LotMove(
                lot=row[1],
                points=row[2],
                lot_points=row[3],
                earned_at=row[4].astimezone(UTC),
                expires_at=_utc(row[5]),
                granted_by=row[6],
                granted_kind=row[7],
                granted_reason=row[8],
                granted_reference=row[9],
                origin=row[10],
            )
        )
    granted = _went(_granted_lots(entries, moves), limit=shown + 1)
    for row in entries:
        found = granted.get(row[0])
        went, remaining = found or ([], None)
        lots = moves[row[0]]
        lines[row[1]].entries.append(
            EntryLine(
                id=row[0],
                kind=row[2],
                points=row[3],
                balance_after=row[4],
                recorded_at=row[5].astimezone(UTC),
                account_number=row[6],
                lots=lots,
                other_points=row[3] - sum(lot.points for lot in lots),
                went=went[:shown],
                remaining=remaining,
                went_further=len(went) > shown,
            )
        )


def _granted_lots(entries: Sequence[tuple[Any, ...]], moves: dict[UUID, list[LotMove]]) -> list[UUID]:
    """The lots that entries of these operations made, where an entry made just one."""
    operations = {row[0]: row[1] for row in entries}
    return [
        lots[0].lot
        for entry_id, lots in moves.items()
        if len(lots) == 1 and lots[0].points > 0 and lots[0].granted_by == operations[entry_id]
    ]


def _went(lots: Sequence[UUID], *, limit: int) -> dict[UUID, tuple[list[Move], int]]:
    """By the entry that granted the lot: where its points went, newest first, and what remains."""
    found: dict[UUID, tuple[list[Move], int]] = {}
    if not lots:
        return found
    for row in fetch_all(_WENT, {"lots": list(lots), "limit": limit}):
        moves, _ = found.setdefault(row[1], ([], row[2]))
        if row[3] is not None:
            moves.append(_move(row[3:]))
    return found


def _move(row: tuple[Any, ...]) -> Move:
    return Move(
        operation_id=row[0],
        kind=row[1],
        points=row[2],
        recorded_at=row[3].astimezone(UTC),
        reason=row[4],
        reference=row[5],
        account_number=row[6],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LotStory:
    """One lot from its first point to its last."""

    id: UUID
    account_number: str
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    reason: str
    granted_by: UUID
    granted_reference: str | None
    origin: UUID | None
    #: Newest first.
    moves: Sequence[Move]
    has_more_moves: bool
    #: Lots that were made of points of this one: by a transfer, or given back with grace.
    derived: Sequence[tuple[UUID, str, int]]
    restore: str
    clawback: str


_LOT: Final = """
SELECT lot.id, account.account_number, lot.points, coalesce(open.remaining, 0), lot.earned_at,
    lot.expires_at, reason.code, granting.operation_id, granted.reference, lot.origin_id, policy.restore,
    policy.clawback, lot.entry_id
FROM ledger_lot AS lot
JOIN ledger_account AS account ON account.id = lot.account_id
JOIN ledger_entry AS granting ON granting.id = lot.entry_id
JOIN ledger_operation AS granted ON granted.id = granting.operation_id
JOIN ledger_reason AS reason ON reason.id = lot.reason_id
JOIN ledger_reason_policy AS policy ON policy.id = lot.policy_id
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE lot.id = %s
"""
_DERIVED: Final = f"""
SELECT lot.id, account.account_number, lot.points
FROM ledger_lot AS lot JOIN ledger_account AS account ON account.id = lot.account_id
WHERE lot.origin_id = %s ORDER BY lot.id LIMIT {SHOWN_ON_A_PAGE}
"""  # noqa: S608  (only a constant of this code is put into the text)


def lot_story(*, lot_id: UUID) -> LotStory | None:
    """Where every point of a lot came from and went to; None for a lot that the ledger does not have."""
    rows = fetch_all(_LOT, [lot_id])
    if not rows:
        return None
    row = rows[0]
    found = _went([lot_id], limit=SHOWN_ON_A_PAGE + 1)
    moves, remaining = found[row[12]]
    return LotStory(
        id=row[0],
        account_number=row[1],
        points=row[2],
        remaining=remaining,
        earned_at=row[4].astimezone(UTC),
        expires_at=_utc(row[5]),
        reason=row[6],
        granted_by=row[7],
        granted_reference=row[8],
        origin=row[9],
        moves=moves[:SHOWN_ON_A_PAGE],
        has_more_moves=len(moves) > SHOWN_ON_A_PAGE,
        derived=[(derived[0], derived[1], derived[2]) for derived in fetch_all(_DERIVED, [lot_id])],
        restore=row[10],
        clawback=row[11],
    )


def _utc(instant: datetime | None) -> datetime | None:
    return instant.astimezone(UTC) if instant is not None else None
