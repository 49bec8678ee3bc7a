"""Accounts whose rows explain their lots completely: nearly all of any real legacy, and brought much faster.

An account that was never imported, of which every row says which lots it touched, names something that is
there, and fits what was there, and whose lots end with just what the legacy keeps in them. Such a history is
posted as it is told (`ledger.operations.histories`). Any other, and every one that is in the ledger already,
is followed with all care by `adopting` and `replaying`; both post the same of a plain one.
"""

from collections.abc import Collection, Mapping, Sequence

from cutover import identifiers
from ledger.operations import histories
from ledger.operations.histories import History, Past
from legacy_bridge.records import HistoryRow, LegacyLot

_CANCELLED_KIND = {"earn_cancel": "earn", "spend_cancel": "spend"}


def histories_of(
    rows: Sequence[HistoryRow],
    lots: Mapping[str, Sequence[LegacyLot]],
    *,
    account_numbers: Collection[str],
    reasons: Mapping[str, int],
) -> dict[str, History]:
    """The plain histories among those of these accounts, of which all rows and lots are here."""
    of_account: dict[str, list[HistoryRow]] = {number: [] for number in account_numbers}
    for row in rows:
        if row.account_number in of_account:
            of_account[row.account_number].append(row)
    found = {}
    for number, own in of_account.items():
        history = _history(number, own, lots.get(number, ()), reasons)
        if history is not None:
            found[number] = history
    return found


def _history(
    number: str, rows: Sequence[HistoryRow], lots: Sequence[LegacyLot], reasons: Mapping[str, int]
) -> History | None:
    ids = {lot.lot_id: identifiers.lot_text(lot.lot_id) for lot in lots}
    expiries = {lot.lot_id: lot.expires_at for lot in lots}
    facts: list[Past] = []
    #: Of what can be cancelled: its kind, its operation, and what is left to cancel.
    cancellable: dict[str, tuple[str, str, int]] = {}
    for row in rows:
        fact = _fact(row, ids, expiries, reasons, cancellable)
        if fact is None:
            return None
        facts.append(fact)
    history = histories.follow(number, facts, expiries={ids[lot.lot_id]: lot.expires_at for lot in lots})
    if history is None:
        return None
    for lot in lots:
        granted = history.lots.get(ids[lot.lot_id])
        if lot.remaining != (granted.remaining if granted else 0):
            return None
    return history


def _fact(
    row: HistoryRow,
    ids: Mapping[str, str],
    expiries: Mapping[str, object],
    reasons: Mapping[str, int],
    cancellable: dict[str, tuple[str, str, int]],
) -> Past | None:
    # A row that a call of the API made is that call's operation.
    if row.operation_id is not None or row.shares is None:
        return None
    shares = []
    for share in row.shares:
        own_id = ids.get(share.lot_id)
        if own_id is None or share.expires_at != expiries[share.lot_id]:
            return None
        shares.append((own_id, share.points))
    kind, operation_id = row.kind.value, identifiers.operation_text(row.row_id)
    cancels_id = None
    if kind in ("earn", "spend"):
        cancellable[row.row_id] = (kind, operation_id, abs(row.points))
    if row.cancels_row_id is not None:
        of_kind, cancels_id, left = cancellable.get(row.cancels_row_id, ("", None, 0))
        if cancels_id is None or of_kind != _CANCELLED_KIND.get(kind) or left < abs(row.points):
            return None
        cancellable[row.cancels_row_id] = (of_kind, cancels_id, left - abs(row.points))
    return Past(
        operation_id=operation_id,
        entry_id=identifiers.entry_text(row.row_id),
        kind=kind,
        points=row.points,
        recorded_at=row.recorded_at,
        shares=shares,
        reason_id=reasons.get(row.reason) if row.reason else None,
        reference=row.reference,
        cancels_id=cancels_id,
        balance_after=row.balance_after,
        counterpart_id=row.row_id,
    )
