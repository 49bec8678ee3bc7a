"""What is read before and under the locks, each kind of row in one statement."""

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from ledger import bounds
from ledger.allocation import LotState
from ledger.book import Book
from ledger.bounds import SpendingOrder
from ledger.database import Parameters, fetch_all
from ledger.models import EntryKind
from ledger.operations._desk import Target

#: How many lots are read of an account before it is known that more are needed.
PREFIX = 33

_OPEN_LOTS = """
SELECT lot.lot_id, lot.account_id, lot.points, lot.remaining, lot.earned_at, lot.expires_at
FROM ledger_account AS account
CROSS JOIN LATERAL (
    SELECT lot_id, account_id, points, remaining, earned_at, expires_at
    FROM ledger_open_lot
    WHERE account_id = account.id
    ORDER BY expires_at, earned_at, lot_id
    LIMIT %s
) AS lot
WHERE account.account_number = ANY (%s)
ORDER BY lot.account_id, lot.expires_at, lot.earned_at, lot.lot_id
"""

# All lots, the oldest first: for another side that takes them so (`ledger.bounds`).
_OPEN_LOTS_BY_AGE = """
SELECT lot.lot_id, lot.account_id, lot.points, lot.remaining, lot.earned_at, lot.expires_at
FROM ledger_account AS account JOIN ledger_open_lot AS lot ON lot.account_id = account.id
WHERE account.account_number = ANY (%s)
ORDER BY lot.account_id, lot.earned_at, lot.lot_id
"""

_LOT_POLICIES = "SELECT id, reason_id, policy_id FROM ledger_lot WHERE id = ANY (%s::uuid[])"

_OPERATIONS_BY_KEY = """
SELECT idempotency_key, id, fingerprint
FROM ledger_operation
WHERE client_id = %s AND idempotency_key = ANY (%s)
"""

_WAITING = "SELECT DISTINCT account_number FROM ledger_inbox WHERE account_number = ANY (%s)"

_TARGETS = """
SELECT operation.id, operation.client_id, operation.kind, operation.state, operation.account_number,
    operation.points,
    coalesce((
        SELECT sum(cancel.points) FROM ledger_operation AS cancel
        WHERE cancel.cancels_id = operation.id AND cancel.state = 'completed'
    ), 0)::bigint
FROM ledger_operation AS operation
WHERE operation.id = ANY (%s::uuid[])
"""

_TARGET_LOTS = """
SELECT entry.operation_id, allocation.points, lot.id, lot.account_id, lot.points, coalesce(open.remaining, 0),
    lot.earned_at, lot.expires_at, lot.reason_id, lot.policy_id
FROM ledger_entry AS entry
JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE entry.operation_id = ANY (%s::uuid[]) AND entry.kind IN ('earn', 'spend')
ORDER BY entry.operation_id, entry.sequence, allocation.position
"""

# Lots given back with grace out of an earn's lot, and out of those again. A lot that went to another
# account by a transfer is not among them: nobody pays for another's cancel.
_GRACE_LOTS = """
WITH RECURSIVE family AS (
    SELECT lot.id AS earned_id, lot.id, lot.account_id FROM ledger_lot AS lot WHERE lot.id = ANY (%s::uuid[])
    UNION ALL
    SELECT family.earned_id, lot.id, lot.account_id
    FROM family JOIN ledger_lot AS lot ON lot.origin_id = family.id AND lot.account_id = family.account_id
)
SELECT family.earned_id, lot.id, lot.account_id, lot.points, coalesce(open.remaining, 0), lot.earned_at,
    lot.expires_at, lot.reason_id, lot.policy_id,
    coalesce(moved.spent, 0)::bigint, coalesce(moved.cancelled, 0)::bigint
FROM family
JOIN ledger_lot AS lot ON lot.id = family.id
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
LEFT JOIN LATERAL (
    SELECT -sum(allocation.points) FILTER (WHERE entry.kind = ANY (%s)) AS spent,
        -sum(allocation.points) FILTER (WHERE entry.kind = 'earn_cancel') AS cancelled
    FROM ledger_allocation AS allocation JOIN ledger_entry AS entry ON entry.id = allocation.entry_id
    WHERE allocation.lot_id = family.id
) AS moved ON true
ORDER BY family.earned_id, lot.expires_at, lot.earned_at, lot.id
"""

# An adjustment that granted the lot is no movement out of it, but then the lot is not an earn's.
_SPENDING_KINDS = [
    EntryKind.SPEND,
    EntryKind.SPEND_CANCEL,
    EntryKind.TRANSFER_OUT,
    EntryKind.CLAWBACK,
    EntryKind.ADJUST,
]


def open_lots(account_numbers: Collection[str], *, complete: bool = False) -> tuple[str, Parameters]:
    """The statement that reads open lots in spending order: the first `PREFIX` of each, or all."""
    if bounds.current().spending_order is SpendingOrder.OLDEST:
        return _OPEN_LOTS_BY_AGE, [list(account_numbers)]
    return _OPEN_LOTS, [None if complete else PREFIX, list(account_numbers)]


def fill(books: Collection[Book], rows: Iterable[tuple[Any, ...]], *, complete: bool = False) -> None:
    """Put the rows of `open_lots` into the books of their accounts."""
    by_id = {book.id: book for book in books}
    order = bounds.current().spending_order
    for book in books:
        book.lots, book.order = [], order
    for row in rows:
        if row[1] in by_id:
            by_id[row[1]].lots.append(_lot(row))
    for book in books:
        book.has_all_lots = complete or order is SpendingOrder.OLDEST or len(book.lots) < PREFIX


def load_policies(books: Iterable[Book]) -> None:
    """Tell the lots of these books their reasons and policies."""
    lots = {lot.id: lot for book in books for lot in book.lots}
    for lot_id, reason_id, policy_id in fetch_all(_LOT_POLICIES, [list(lots)]):
        lots[lot_id].reason_id, lots[lot_id].policy_id = reason_id, policy_id


def _lot(row: tuple[Any, ...]) -> LotState:
    lot_id, account_id, points, remaining, earned_at, expires_at = row[:6]
    return LotState(
        id=lot_id,
        account_id=account_id,
        points=points,
        remaining=remaining,
        earned_at=earned_at,
        expires_at=expires_at,
        reason_id=row[6] if len(row) > 6 else None,
        policy_id=row[7] if len(row) > 6 else None,
    )


def known_keys(*, client_id: int, keys: Collection[str]) -> tuple[str, Parameters]:
    """The statement that looks up what keys of one client stand for already."""
    return _OPERATIONS_BY_KEY, [client_id, list(keys)]


def operations_by_key(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[UUID, bytes]]:
    """By key: the id of the operation and the fingerprint of the request that it was."""
    return {key: (operation_id, bytes(fingerprint)) for key, operation_id, fingerprint in rows}


def waiting(account_numbers: Collection[str]) -> tuple[str, Parameters]:
    """The statement that finds accounts with something accepted earlier and still to be done."""
    return _WAITING, [list(account_numbers)]


def find_targets(ids: Collection[UUID]) -> dict[UUID, Target]:
    """The operations that cancels name, without their lots."""
    if not ids:
        return {}
    return {
        row[0]: Target(
            id=row[0],
            client_id=row[1],
            kind=row[2],
            state=row[3],
            account_number=row[4],
            points=row[5],
            cancelled_points=row[6],
        )
        for row in fetch_all(_TARGETS, [list(ids)])
    }


def load_targets(ids: Collection[UUID]) -> dict[UUID, Target]:
    """The same with their lots as they are now: under the locks of their accounts."""
    targets = find_targets(ids)
    if not targets:
        return targets
    for row in fetch_all(_TARGET_LOTS, [list(targets)]):
        targets[row[0]].allocations.append((_lot(row[2:]), abs(row[1])))
    earned = {
        target.allocations[0][0].id: target
        for target in targets.values()
        if target.kind == "earn" and target.allocations
    }
    if earned:
        for row in fetch_all(_GRACE_LOTS, [list(earned), list(_SPENDING_KINDS)]):
            target = earned[row[0]]
            target.spent_points += row[9]
            target.own_cancelled_points += row[10]
            if row[1] != row[0]:
                target.grace_lots.append(_lot(row[1:9]))
    return targets
