"""Both sides of an account, lot by lot, so that a test can say that they are equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cutover import identifiers
from cutover.lots import ids_of
from ledger.database import fetch_all
from legacy_bridge import configured, sessions

_LEDGER = """
SELECT coalesce(lot.origin_id, lot.id), sum(open.remaining)::bigint
FROM ledger_open_lot AS open JOIN ledger_lot AS lot ON lot.id = open.lot_id
JOIN ledger_account AS account ON account.id = open.account_id
WHERE account.account_number = %s
GROUP BY 1
"""


def of_legacy(account_number: str) -> dict[str, int]:
    """What remains in each lot of the legacy, by the id under which clients know the lot."""
    with sessions.session() as session:
        lots = configured.adapter().lots(session, account_number=account_number, with_ended=True)
    ids = ids_of([lot.lot_id for lot in lots])
    return {str(ids[lot.lot_id]): lot.remaining for lot in lots if lot.remaining}


def of_ledger(account_number: str) -> dict[str, int]:
    """What remains in each lot of the ledger."""
    return {str(lot): points for lot, points in fetch_all(_LEDGER, [account_number])}


def assert_equal(account_number: str) -> None:
    assert of_ledger(account_number) == of_legacy(account_number)


def of_rows(rows: Iterable[tuple[str, int, int]], aliases: Mapping[str, str]) -> dict[str, dict[str, int]]:
    """By account: what remains in each lot of the legacy (account, lot, points), read past the bridge."""
    found: dict[str, dict[str, int]] = {}
    for account_number, lot, remaining in rows:
        derived = str(identifiers.lot_id(str(lot)))
        found.setdefault(account_number, {})[aliases.get(derived, derived)] = remaining
    return found
