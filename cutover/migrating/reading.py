"""What the legacy has of some accounts, all of one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from legacy_bridge import errors, giving
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.records import HistoryRow, LegacyLot
from legacy_bridge.sessions import Session

#: Rows that are in memory at once: they bound it, however large the legacy and its accounts are. A switch
#: waits for what is posted of them.
ROWS_AT_ONCE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows and lots of accounts. Of an account in `cut` there are more rows, and its lots are not here; of
    one in `unread` there is nothing yet."""

    rows: Sequence[HistoryRow]
    lots: Mapping[str, Sequence[LegacyLot]]
    has_lots: bool
    cut: frozenset[str]
    unread: frozenset[str]


def read(
    adapter: LegacyAdapter,
    session: Session,
    *,
    after: Mapping[str, str | None],
    limit: int = ROWS_AT_ONCE,
) -> Batch:
    """Rows of these accounts behind each one's position, and the lots to which they lead.

    Raises LegacyError, AnswerInvalid for what cannot be true.
    """
    has_lots = Feature.LOTS in adapter.features
    with session.snapshot():
        rows = adapter.rows_of_accounts(session, after=after, limit=limit)
        cut, unread = frozenset[str](), frozenset[str]()
        if len(rows) >= limit:
            last = rows[-1].account_number
            begun = {row.account_number for row in rows}
            cut, unread = frozenset({last}), frozenset(after.keys() - begun)
        whole = [number for number in after if number not in cut and number not in unread]
        lots = adapter.lots_of_accounts(session, account_numbers=whole) if has_lots else {}
    for row in rows:
        if row.account_number not in after:
            raise errors.AnswerInvalid(f"row {row.row_id} of another account")
    giving.check_moments(row.recorded_at for row in rows)
    return Batch(rows=rows, lots=lots, has_lots=has_lots, cut=cut, unread=unread)
