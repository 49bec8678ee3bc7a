"""The tail of the legacy's history: what was done there past the API (docs/concepts/mirroring.md).

Every row that no call of ours made becomes an operation, and with it a message. Which rows came is asked in
two ways: per account, whose rows the legacy writes one after the other, so that nothing can be missed; and
over all, where a row may be committed after a later one, so that the youngest are read again until none can.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from cutover import rows
from cutover.models import Tail
from ledger import clock
from ledger.database import commit_each, fetch_all, fetch_one
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.errors import LegacyError
from legacy_bridge.records import HistoryRow
from legacy_bridge.sessions import Session

log = structlog.get_logger(__name__)

#: A row may be committed so long after one with a later id: longer than any call of a procedure takes.
LATE_SECONDS: Final = 60.0
_ROWS_AT_ONCE: Final = 1000

_READ: Final = "SELECT watermark, newest FROM cutover_tail WHERE id = 1"
_BEGIN: Final = (
    "INSERT INTO cutover_tail (id, watermark, newest) VALUES (1, %s, %s) ON CONFLICT (id) DO NOTHING"
)
_MOVE: Final = """
UPDATE cutover_tail
SET watermark = coalesce(%(watermark)s, watermark), newest = coalesce(%(newest)s, newest),
    newest_at = coalesce(%(newest_at)s, newest_at),
    reached_end_at = CASE WHEN %(reached_end)s THEN clock_timestamp() ELSE reached_end_at END, last_error = ''
WHERE id = 1
"""
_FAILED: Final = "UPDATE cutover_tail SET last_error = %s WHERE id = 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tailed:
    """What one look brought: rows read, and those of them that no call of ours made."""

    rows: int
    strangers: int
    reached_end: bool


def begin(adapter: LegacyAdapter, session: Session) -> None:
    """Take the legacy's newest rows as the point from which its tail is followed, unless one is known."""
    if fetch_one(_READ) is not None:
        return
    before = adapter.row_before(session, instant=datetime.now(UTC) - timedelta(seconds=2 * LATE_SECONDS))
    commit_each([(_BEGIN, [before, before])])


def follow(
    adapter: LegacyAdapter, session: Session, *, again: bool = False, limit: int = 20 * _ROWS_AT_ONCE
) -> Tailed:
    """Read what came since the last look, and give the strangers among it operations, and so messages.

    With `again` from the last row that was read for good: what was committed late among what was read is
    found then. Raises LegacyError and DatabaseError.
    """
    if Feature.HISTORY not in adapter.features:
        return Tailed(rows=0, strangers=0, reached_end=True)
    begin(adapter, session)
    ((watermark, newest),) = fetch_all(_READ)
    place = watermark if again else newest
    read = strangers = 0
    # A simulated clock does not say how long ago a row was written: then none is ever read for good.
    final_before = None if clock.is_simulated() else datetime.now(UTC) - timedelta(seconds=LATE_SECONDS)
    try:
        while read < limit:
            found = adapter.rows_after(session, row_id=place, limit=_ROWS_AT_ONCE)
            if found:
                strangers += _adopt(session, found)
                place = found[-1].row_id
                read += len(found)
            is_end = len(found) < _ROWS_AT_ONCE
            commit_each([(_MOVE, _moved(found, final_before, reached_end=is_end, again=again))])
            if is_end:
                return Tailed(rows=read, strangers=strangers, reached_end=True)
    except LegacyError as error:
        commit_each([(_FAILED, [str(error)[:2000]])])
        raise
    return Tailed(rows=read, strangers=strangers, reached_end=False)


def _moved(
    found: Sequence[HistoryRow], final_before: datetime | None, *, reached_end: bool, again: bool
) -> dict[str, object]:
    """How far the tail stands after these rows. Only a look from the watermark on moves it: what a quick
    look passed by may still have gaps."""
    final = None
    if again and final_before is not None:
        final = next((row.row_id for row in reversed(found) if row.recorded_at < final_before), None)
    return {
        "watermark": final,
        "newest": found[-1].row_id if found else None,
        "newest_at": found[-1].recorded_at if found else None,
        "reached_end": reached_end,
    }


def _adopt(session: Session, found: Sequence[HistoryRow]) -> int:
    known = rows.taken([row.row_id for row in found])
    strangers = [row for row in found if row.row_id not in known]
    if strangers:
        rows.adopt(session, strangers)
    return len(strangers)


def freshness_seconds() -> float | None:
    """How long ago the end of the legacy's history was last reached; None: never."""
    row = fetch_one("SELECT extract(epoch FROM clock_timestamp() - reached_end_at)::float8 FROM cutover_tail")
    return None if row is None else row[0]


def last_error() -> str:
    """What the last look failed by; empty when it did not."""
    return next(iter(Tail.objects.values_list("last_error", flat=True)), "")


def of_accounts(
    adapter: LegacyAdapter, session: Session, positions: Iterable[tuple[str, str | None]], *, limit: int
) -> dict[str, Sequence[HistoryRow]]:
    """By account: the rows after its position, in the legacy's order, at most `limit` of each."""
    return {
        number: adapter.rows_after(session, row_id=position, limit=limit, account_number=number)
        for number, position in positions
    }
