"""Rows of the legacy's history, and the operations that they are.

A row that a call of the API made is that call's operation. Any other (a service that still calls procedures,
the legacy's own jobs, a repair by hand) is given an operation of its own when it is first shown, with an id
derived from the row's: so a client that has just moved finds what it did yesterday, and can cancel it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cutover import identifiers, intents
from ledger import policies
from ledger.clients import legacy_client_id
from ledger.database import fetch_all
from ledger.operations import elsewhere
from ledger.operations.elsewhere import Adopted
from legacy_bridge import configured
from legacy_bridge.adapter import Feature
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.records import HistoryRow, RowKind
from legacy_bridge.sessions import Session

_OURS: Final = "SELECT id FROM ledger_operation WHERE id = ANY (%s::uuid[])"

_ENTRIES: Final = """
SELECT operation_id, kind, id FROM ledger_entry WHERE operation_id = ANY (%s::uuid[]) ORDER BY sequence DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The operation of a row, with what is known of it beyond the row."""

    operation_id: UUID
    reason: str | None
    reference: str | None


def taken(row_ids: Collection[str]) -> set[str]:
    """Those of these rows that are an operation already."""
    return set(elsewhere.by_counterpart(list(row_ids)))


def operations_of(session: Session, rows: Sequence[HistoryRow]) -> dict[str, Shown]:
    """The operation of each row, adopting those that no call of the API made.

    The rows were read before this asks which accounts have an intent that is not settled: a row that is not
    known then, on an account without one, can be of no call of ours.
    """
    known = elsewhere.by_counterpart([row.row_id for row in rows])
    strangers = [row for row in rows if row.row_id not in known]
    ours = adopt(session, strangers)
    # Anew: a call that was under way may have ended meanwhile, and the row is its own.
    known.update(elsewhere.by_counterpart([row.row_id for row in strangers]))
    shown = {}
    for row in rows:
        if row.row_id in known:
            operation_id, reason, reference = known[row.row_id]
            shown[row.row_id] = Shown(
                operation_id=operation_id, reason=reason or row.reason, reference=reference or row.reference
            )
        else:
            operation_id = ours.get(row.row_id) or identifiers.operation_id(row.row_id)
            shown[row.row_id] = Shown(operation_id=operation_id, reason=row.reason, reference=row.reference)
    return shown


def adopt(session: Session, rows: Sequence[HistoryRow]) -> dict[str, UUID]:
    """Give each of these rows an operation, unless a call that is under way may turn out to have made it.

    Returns, by row id, the operations of ours that the legacy keeps the ids of, and that have not ended yet.
    """
    if not rows:
        return {}
    unsettled = intents.unsettled_accounts(row.account_number for row in rows)
    given = [row.operation_id for row in rows if row.operation_id]
    noted = {found for (found,) in fetch_all(_OURS, [given])} if given else set()
    ours = {row.row_id: row.operation_id for row in rows if row.operation_id and row.operation_id in noted}
    free = [row for row in rows if row.account_number not in unsettled and row.row_id not in ours]
    elsewhere.adopt([_adopted(row, {}) for row in _cancellable(session, free)])
    ids = elsewhere.by_counterpart([row.cancels_row_id for row in free if row.cancels_row_id])
    elsewhere.adopt([_adopted(row, {key: found[0] for key, found in ids.items()}) for row in free])
    return ours


def _cancellable(session: Session, rows: Sequence[HistoryRow]) -> list[HistoryRow]:
    """The earns and spends among these, and those that the others cancel and that nobody knows yet."""
    originals = [row for row in rows if row.kind in (RowKind.EARN, RowKind.SPEND)]
    wanted = {row.cancels_row_id for row in rows if row.cancels_row_id} - {row.row_id for row in rows}
    wanted -= taken(wanted)
    adapter = configured.adapter()
    if not wanted or Feature.HISTORY not in adapter.features:
        return originals
    try:
        return [*adapter.rows_by_id(session, list(wanted)), *originals]
    except NotRepresentable:
        return originals


def _adopted(row: HistoryRow, operations: dict[str, UUID]) -> Adopted:
    reasons = policies.current().reasons
    found = reasons.get(row.reason) if row.reason else None
    return Adopted(
        id=identifiers.operation_id(row.row_id),
        client_id=legacy_client_id(),
        kind=row.kind.value,
        account_number=row.account_number,
        points=row.points if row.kind is RowKind.ADJUST else abs(row.points),
        reason_id=found[0].id if found else None,
        reference=row.reference,
        recorded_at=row.recorded_at,
        cancels_id=operations.get(row.cancels_row_id) if row.cancels_row_id else None,
        balance_after=row.balance_after,
        counterpart_id=row.row_id,
        shares=intents.stored_shares(row.shares),
    )


def entry_ids(operation_ids: Collection[UUID]) -> dict[tuple[UUID, str], UUID]:
    """By operation and kind: the id of its line, where the ledger has one."""
    rows = fetch_all(_ENTRIES, [list(operation_ids)]) if operation_ids else []
    return {(operation_id, kind): entry_id for operation_id, kind, entry_id in rows}
