"""What can be read of the ledger. Nothing here writes, and nothing here decides a spend."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ledger import bounds, clock
from ledger.allocation import LotState, take, total
from ledger.balances.window import expiring_before
from ledger.bounds import SpendingOrder
from ledger.clients import legacy_client_id, may_see
from ledger.cursors import cut, instant_of, position_of, uuid_of, whole_number_of
from ledger.database import fetch_all, fetch_one, from_jsonb
from ledger.errors import InsufficientPoints, OperationNotFound, ValidationRefused
from ledger.models import OperationKind, OperationState
from ledger.records import (
    BalanceRecord,
    HistoryLine,
    LotRecord,
    LotShare,
    OperationRecord,
    Page,
    PointsAt,
    PointsBefore,
    SpendPreview,
)

_OPERATIONS = """
SELECT operation.id, operation.kind, operation.state, operation.account_number, operation.to_account_number,
    operation.points, reason.code, operation.reference, operation.occurred_at, operation.recorded_at,
    operation.cancels_id, operation.uncollected_points, operation.balance_after, operation.metadata,
    operation.refusal, operation.client_id, operation.decided_elsewhere, operation.shares,
    coalesce((
        SELECT sum(cancel.points) FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = operation.id AND cancel.state = 'completed'
    ), 0)::bigint
FROM ledger_operation AS operation
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
"""

# The lots that an operation shows: what it granted, took or gave back, and not what expired again at
# once nor what an earn settled of a debt.
_OPERATION_LOTS = """
SELECT entry.operation_id, allocation.lot_id, abs(allocation.points), lot.expires_at
FROM ledger_entry AS entry
JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
JOIN ledger_operation AS operation ON operation.id = entry.operation_id
WHERE entry.operation_id = ANY (%s::uuid[])
    AND (entry.kind <> 'expire' OR operation.kind = 'expire')
    AND (entry.kind <> 'clawback' OR operation.kind = 'earn_cancel')
    AND entry.kind <> 'transfer_in'
ORDER BY entry.operation_id, entry.sequence, allocation.position
"""


def first_outcomes(operation_ids: Collection[UUID]) -> dict[UUID, OperationRecord]:
    """These operations as they were first answered, whatever was cancelled of them since."""
    rows = fetch_all(f"{_OPERATIONS} WHERE operation.id = ANY (%s::uuid[])", [list(operation_ids)])
    return _records(rows, as_first_answered=True)


def find_operation(*, operation_id: UUID, client_id: int, any_client: bool) -> OperationRecord:
    """One operation as it stands. Raises OperationNotFound, also for another client's."""
    rows = fetch_all(f"{_OPERATIONS} WHERE operation.id = ANY (%s::uuid[])", [[operation_id]])
    if not rows or not may_see(owner_id=rows[0][15], client_id=client_id, any_client=any_client):
        raise OperationNotFound("There is no such operation.")
    return _records(rows, as_first_answered=False)[operation_id]


def operations_by_reference(
    *, client_id: int, any_client: bool, reference: str, cursor: str | None = None, page_size: int = 50
) -> Page[OperationRecord]:
    """The client's operations for one business fact, oldest first. Raises ValidationRefused."""
    position, backwards = position_of(cursor, parts=1)
    condition = "operation.reference = %s" + ("" if any_client else " AND operation.client_id = ANY (%s)")
    parameters: list[Any] = [reference] if any_client else [reference, [client_id, legacy_client_id()]]
    if position:
        condition += f" AND operation.id {'<' if backwards else '>'} %s"
        parameters.append(uuid_of(position[0]))
    rows = fetch_all(
        f"{_OPERATIONS} WHERE {condition} ORDER BY operation.id {'DESC' if backwards else 'ASC'} LIMIT %s",
        [*parameters, page_size + 1],
    )
    rows, next_cursor, previous_cursor = cut(
        rows, page_size, position, backwards, key=lambda row: [str(row[0])]
    )
    records = _records(rows, as_first_answered=False)
    return Page(data=[records[row[0]] for row in rows], next=next_cursor, previous=previous_cursor)


def _records(rows: Sequence[tuple[Any, ...]], *, as_first_answered: bool) -> dict[UUID, OperationRecord]:
    completed = [row[0] for row in rows if row[2] == OperationState.COMPLETED and not row[16]]
    lots: dict[UUID, list[LotShare]] = {operation_id: [] for operation_id in completed}
    if completed:
        for operation_id, lot_id, points, expires_at in fetch_all(_OPERATION_LOTS, [completed]):
            lots[operation_id].append(LotShare(lot=lot_id, points=points, expires_at=_utc(expires_at)))
    records = {}
    for row in rows:
        is_cancellable = (
            row[1] in (OperationKind.EARN, OperationKind.SPEND) and row[2] == OperationState.COMPLETED
        )
        cancelled = 0 if as_first_answered else row[18]
        records[row[0]] = OperationRecord(
            id=row[0],
            kind=row[1],
            state=row[2],
            account_number=row[3],
            to_account_number=row[4],
            points=row[5],
            reason=row[6],
            reference=row[7],
            occurred_at=_utc(row[8]),
            recorded_at=row[9].astimezone(UTC),
            cancels=row[10],
            cancellable_points=row[5] - cancelled if is_cancellable else 0,
            uncollected_points=row[11],
            balance_after=row[12],
            lots=_shares(row[17]) if row[16] else lots.get(row[0]),
            metadata=from_jsonb(row[13]),
            refusal=from_jsonb(row[14]),
        )
    return records


def _shares(stored: Any) -> list[LotShare] | None:
    """The lots of an operation as another side told of them, or None where it could not tell."""
    told = from_jsonb(stored)
    if told is None:
        return None
    return [
        LotShare(lot=UUID(lot), points=points, expires_at=datetime.fromisoformat(at) if at else None)
        for lot, points, at in told
    ]


_BALANCE = """
SELECT account.sequence, account.balance, clock.now, soon.points, soon.lapsed, first.expires_at, first.points
FROM ledger_account AS account
CROSS JOIN (SELECT %(now)s::timestamptz AS now) AS clock
LEFT JOIN LATERAL (
    SELECT coalesce(sum(remaining) FILTER (WHERE expires_at > clock.now), 0)::bigint AS points,
        coalesce(sum(remaining) FILTER (WHERE expires_at <= clock.now), 0)::bigint AS lapsed
    FROM ledger_open_lot WHERE account_id = account.id AND expires_at < %(before)s
) AS soon ON true
LEFT JOIN LATERAL (
    SELECT lot.expires_at, sum(lot.remaining)::bigint AS points
    FROM ledger_open_lot AS lot
    WHERE lot.account_id = account.id AND lot.expires_at = (
        SELECT min(expires_at) FROM ledger_open_lot
        WHERE account_id = account.id AND expires_at > clock.now
    )
    GROUP BY lot.expires_at
) AS first ON true
WHERE account.account_number = %(account_number)s
"""


def balance(*, account_number: str) -> BalanceRecord:
    """What can be spent now, from PostgreSQL. A never-seen account has 0."""
    return balance_with_sequence(account_number=account_number)[0]


def balance_with_sequence(*, account_number: str) -> tuple[BalanceRecord, int]:
    """The same, with the version it stands for: the sequence of the account's last entry, 0 for none."""
    now = clock.now()
    before = expiring_before(now=now)

    row = fetch_one(_BALANCE, {"account_number": account_number, "before": before, "now": now})
    if row is None:
        row = (0, 0, now, 0, 0, None, None)
    sequence, book_balance, _, soon, lapsed, next_expiry_at, next_points = row
    record = BalanceRecord(
        account_number=account_number,
        available=book_balance - lapsed,
        expiring_soon=PointsBefore(points=soon, before=before),
        next_expiry=PointsAt(points=next_points, at=next_expiry_at.astimezone(UTC))
        if next_expiry_at
        else None,
        as_of=now,
    )
    return record, sequence


# Every lot lapses at its instant, whatever the expire entries say, and counts with the allocations
# that had been recorded by then.
_BALANCE_AS_OF = """
SELECT lot.expires_at, sum(allocation.points)::bigint
FROM ledger_account AS account
JOIN ledger_lot AS lot ON lot.account_id = account.id
JOIN ledger_allocation AS allocation ON allocation.lot_id = lot.id
JOIN ledger_entry AS entry ON entry.id = allocation.entry_id
WHERE account.account_number = %(account_number)s
    AND (lot.expires_at IS NULL OR lot.expires_at > %(as_of)s)
    AND entry.recorded_at <= %(as_of)s
GROUP BY lot.expires_at
HAVING sum(allocation.points) > 0
ORDER BY lot.expires_at
"""


def balance_as_of(*, account_number: str, as_of: datetime) -> BalanceRecord:
    """What could be spent at `as_of`, by `recorded_at`. Raises ValidationRefused for the future."""
    if as_of > clock.now():
        raise ValidationRefused(field="as_of", field_code="in_the_future", detail="as_of is later than now.")
    rows = fetch_all(_BALANCE_AS_OF, {"account_number": account_number, "as_of": as_of})
    before = expiring_before(now=as_of)
    expiring = [(expires_at.astimezone(UTC), points) for expires_at, points in rows if expires_at is not None]
    return BalanceRecord(
        account_number=account_number,
        available=sum(points for _, points in rows),
        expiring_soon=PointsBefore(
            points=sum(points for at, points in expiring if at < before), before=before
        ),
        next_expiry=PointsAt(points=expiring[0][1], at=expiring[0][0]) if expiring else None,
        as_of=as_of.astimezone(UTC),
    )


# "Never" sorts as infinity, so that one row comparison pages through all lots.
_LOTS = """
SELECT lot.id, lot.points, coalesce(open.remaining, 0), lot.earned_at, lot.expires_at, reason.code,
    lot.origin_id
FROM ledger_account AS account
JOIN {source} ON {join}
JOIN ledger_reason AS reason ON reason.id = lot.reason_id
WHERE account.account_number = %(account_number)s {condition}
ORDER BY {order}
LIMIT %(limit)s
"""
_LIVE_SOURCE = (
    "ledger_open_lot AS open",
    "open.account_id = account.id JOIN ledger_lot AS lot ON lot.id = open.lot_id",
)
_ALL_SOURCE = (
    "ledger_lot AS lot",
    "lot.account_id = account.id LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id",
)


def lots_page(
    *, account_number: str, state: str = "live", cursor: str | None = None, page_size: int = 50
) -> Page[LotRecord]:
    """The lots of an account in spending order: those that can be spent, or all (`state="all"`).

    `remaining` of a lot whose instant has come is 0, whether its expire entry was posted or not.
    Raises ValidationRefused for a cursor that this list did not give.
    """
    now = clock.now()
    position, backwards = position_of(cursor, parts=3)
    lot = "open" if state == "live" else "lot"
    lot_id = "open.lot_id" if state == "live" else "lot.id"
    conditions, parameters = "", {"account_number": account_number, "limit": page_size + 1, "now": now}
    if state == "live":
        conditions += " AND (open.expires_at IS NULL OR open.expires_at > %(now)s)"
    if position:
        parameters |= {"earned_at": instant_of(position[1]), "id": uuid_of(position[2])}
        after = f"({lot}.earned_at, {lot_id}) {'<' if backwards else '>'} (%(earned_at)s, %(id)s)"
        if position[0]:
            parameters["expires_at"] = instant_of(position[0])
            further = (
                f"{lot}.expires_at < %(expires_at)s"
                if backwards
                else (f"{lot}.expires_at > %(expires_at)s OR {lot}.expires_at IS NULL")
            )
            conditions += f" AND ({further} OR ({lot}.expires_at = %(expires_at)s AND {after}))"
        else:
            further = f"{lot}.expires_at IS NOT NULL OR" if backwards else ""
            conditions += f" AND ({further} ({lot}.expires_at IS NULL AND {after}))"
    direction = " DESC" if backwards else ""
    source, join = _LIVE_SOURCE if state == "live" else _ALL_SOURCE
    statement = _LOTS.format(
        source=source,
        join=join,
        condition=conditions,
        order=f"{lot}.expires_at{direction}, {lot}.earned_at{direction}, {lot_id}{direction}",
    )
    rows = fetch_all(statement, parameters)
    rows, next_cursor, previous_cursor = cut(
        rows,
        page_size,
        position,
        backwards,
        key=lambda row: [row[4].isoformat() if row[4] else "", row[3].isoformat(), str(row[0])],
    )
    data = [
        LotRecord(
            id=row[0],
            points=row[1],
            remaining=row[2] if row[4] is None or row[4] > now else 0,
            earned_at=row[3].astimezone(UTC),
            expires_at=_utc(row[4]),
            reason=row[5],
            origin=row[6],
        )
        for row in rows
    ]
    return Page(data=data, next=next_cursor, previous=previous_cursor)


_HISTORY = """
SELECT entry.id, entry.operation_id, entry.kind, entry.points, entry.balance_after, reason.code,
    operation.reference, entry.recorded_at, entry.sequence
FROM ledger_account AS account
JOIN ledger_entry AS entry ON entry.account_id = account.id
JOIN ledger_operation AS operation ON operation.id = entry.operation_id
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE account.account_number = %(account_number)s {condition}
ORDER BY entry.sequence {direction}
LIMIT %(limit)s
"""


def history_page(*, account_number: str, cursor: str | None = None, page_size: int = 50) -> Page[HistoryLine]:
    """The entries of an account, newest first. Raises ValidationRefused for a foreign cursor."""
    position, backwards = position_of(cursor, parts=1)
    parameters: dict[str, Any] = {"account_number": account_number, "limit": page_size + 1}
    condition = ""
    if position:
        parameters["sequence"] = whole_number_of(position[0])
        condition = f"AND entry.sequence {'>' if backwards else '<'} %(sequence)s"
    rows = fetch_all(
        _HISTORY.format(condition=condition, direction="ASC" if backwards else "DESC"), parameters
    )
    rows, next_cursor, previous_cursor = cut(
        rows, page_size, position, backwards, key=lambda row: [str(row[8])]
    )
    data = [
        HistoryLine(
            id=row[0],
            operation_id=row[1],
            kind=row[2],
            points=row[3],
            balance_after=row[4],
            reason=row[5],
            reference=row[6],
            recorded_at=row[7].astimezone(UTC),
        )
        for row in rows
    ]
    return Page(data=data, next=next_cursor, previous=previous_cursor)


_SPENDABLE = """
SELECT lot.lot_id, lot.account_id, lot.points, lot.remaining, lot.earned_at, lot.expires_at
FROM ledger_account AS account JOIN ledger_open_lot AS lot ON lot.account_id = account.id
WHERE account.account_number = %s
ORDER BY lot.expires_at, lot.earned_at, lot.lot_id
"""


def spend_preview(*, account_number: str, points: int) -> SpendPreview:
    """What a spend would take now, by the same rule. Raises InsufficientPoints; writes nothing."""
    now = clock.now()
    lots = [
        LotState(
            id=row[0], account_id=row[1], points=row[2], remaining=row[3], earned_at=row[4], expires_at=row[5]
        )
        for row in fetch_all(_SPENDABLE, [account_number])
    ]
    if bounds.current().spending_order is SpendingOrder.OLDEST:
        lots.sort(key=lambda lot: lot.order_of_age)
    available = sum(lot.remaining for lot in lots if lot.is_live(at=now))
    shares = take(lots=lots, points=points, at=now)
    if total(shares) < points:
        raise InsufficientPoints(f"{available} points are available.")
    return SpendPreview(
        account_number=account_number,
        points=points,
        lots=[
            LotShare(lot=share.lot.id, points=share.points, expires_at=_utc(share.lot.expires_at))
            for share in shares
        ],
        available=available,
        available_after=available - points,
    )


def _utc(instant: datetime | None) -> datetime | None:
    return instant.astimezone(UTC) if instant is not None else None
