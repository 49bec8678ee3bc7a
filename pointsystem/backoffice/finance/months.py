"""What was moved in each month: read of a projection, and of the few entries that it does not hold yet.

`MonthSum` holds every entry that was posted before `MonthsSummed.posted_before`. What was posted since is
read from the entries themselves, so the sums are exact at any time, for entries that come late into a month
long over too (a migration, a follower): they are told apart by when they were posted, and not by their month.
Why it is done so: docs/adr/0032-sums-by-month.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db import connection, transaction

from ledger import clock

#: What is younger is read from the entries. Longer than any transaction that posts, whoever it belongs to.
MARGIN: Final = timedelta(hours=1)
#: A page brings the projection forward when it lags so far, where no worker did.
LAG: Final = timedelta(hours=3)
_BEGINNING: Final = "-infinity"
_END: Final = "infinity"

#: One per line: (month, reason, kind) and the points. Entries posted from `since` on, and before `before`.
_MOVED: Final = """
SELECT date_trunc('month', entry.recorded_at AT TIME ZONE %(zone)s)::date AS month, lot.reason_id, entry.kind,
    sum(allocation.points)::bigint AS points
FROM ledger_entry AS entry
JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
JOIN ledger_lot AS lot ON lot.id = allocation.lot_id
WHERE entry.posted_at >= %(since)s AND entry.posted_at < %(before)s
GROUP BY 1, 2, 3
"""
_ALL: Final = f"""
SELECT month, reason_id, kind, sum(points)::bigint
FROM (SELECT month, reason_id, kind, points FROM backoffice_month_sum UNION ALL {_MOVED}) AS moved
GROUP BY 1, 2, 3 HAVING sum(points) <> 0 ORDER BY 1, 2, 3
"""  # noqa: S608  (only the constant above is put into the text)
_ADD: Final = f"""
INSERT INTO backoffice_month_sum AS known (month, reason_id, kind, points)
SELECT month, reason_id, kind, points FROM ({_MOVED}) AS moved
ON CONFLICT (month, reason_id, kind) DO UPDATE SET points = known.points + EXCLUDED.points
"""  # noqa: S608
# No instant of Python's is -infinity: null stands for "nothing yet".
_STATE: Final = "SELECT zone, nullif(posted_before, '-infinity') FROM backoffice_months_summed WHERE id = 1"
_LOCK: Final = f"{_STATE} FOR UPDATE SKIP LOCKED"
_FIRST: Final = """
INSERT INTO backoffice_months_summed (id, zone, posted_before) VALUES (1, %s, '-infinity')
ON CONFLICT (id) DO NOTHING
"""
# An entry that was posted before this instant is either committed or was rolled back: whatever is still open
# began later. Of other roles' transactions one sees nothing; for those the margin stands.
_SETTLED_BEFORE: Final = """
SELECT least(clock_timestamp() - %s * interval '1 second', min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_DIFFERENCES: Final = f"""
SELECT coalesce(kept.month, moved.month), reason.code, coalesce(kept.kind, moved.kind),
    coalesce(kept.points, 0), coalesce(moved.points, 0)
FROM backoffice_month_sum AS kept
FULL JOIN ({_MOVED}) AS moved USING (month, reason_id, kind)
LEFT JOIN ledger_reason AS reason ON reason.id = reason_id
WHERE coalesce(kept.points, 0) <> coalesce(moved.points, 0)
ORDER BY 1, 2, 3
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Signed points that one kind of entry moved in one month, in lots that were earned for one reason."""

    month: date
    reason_id: int
    kind: str
    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A sum that is not what the entries say."""

    month: date
    reason: str
    kind: str
    kept: int
    entries: int


@contextmanager
def one_snapshot() -> Iterator[None]:
    """Every read inside sees the same instant. Inside a transaction of the caller's, what that one sees."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def movements() -> list[Movement]:
    """Everything that was moved, month by month. To be read in `one_snapshot`."""
    zone, since = _state()
    if since is not None and zone != _zone():
        raise RuntimeError("The sums are of another time zone: bring_forward was not called.")
    return [
        Movement(month=month, reason_id=reason_id, kind=kind, points=points)
        for month, reason_id, kind, points in rows(_ALL, _window(since))
    ]


def bring_forward(*, margin: timedelta = MARGIN) -> bool:
    """Take into the sums what was posted since; start anew where they are of another time zone.

    False where there was nothing to do, or somebody else is at it. Costs what was posted since the last time.
    """
    rows(_FIRST, [_zone()])
    with transaction.atomic():
        found = rows(_LOCK)
        if not found:
            return False
        ((zone, since),) = found
        if zone != _zone():
            _forget()
            since = None
        return _advance(since, _settled_before(margin))


def bring_forward_if_behind() -> None:
    """What a page asks for first: the sums lag, or are of another time zone, only where no worker runs."""
    zone, since = _state()
    if since is None or zone != _zone() or _settled_before(MARGIN) - since > LAG:
        bring_forward()


def rebuild(*, margin: timedelta = MARGIN) -> None:
    """Forget the sums, and take them anew from the entries. Waits for nobody: whoever is at it goes on."""
    rows(_FIRST, [_zone()])
    with transaction.atomic():
        rows(f"{_STATE} FOR UPDATE")
        _forget()
        _advance(None, _settled_before(margin))


def differences() -> list[Difference]:
    """Every sum that is not what the entries say. Reads all entries once."""
    with one_snapshot():
        zone, since = _state()
        if since is None:
            return []
        window = {"zone": zone, "since": _BEGINNING, "before": since}
        return [
            Difference(month=month, reason=reason or "", kind=kind, kept=kept, entries=entries)
            for month, reason, kind, kept, entries in rows(_DIFFERENCES, window)
        ]


def rows(statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
    """Run one statement with its values in its text: the plan depends on how far back it reads."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


def _zone() -> str:
    return clock.programme_zone().key


def _state() -> tuple[str, datetime | None]:
    """The time zone of the sums and how far they go; None for how far where there are none."""
    for zone, since in rows(_STATE):
        return zone, since
    return "", None


def _window(since: datetime | None) -> dict[str, Any]:
    return {"zone": _zone(), "since": since or _BEGINNING, "before": _END}


def _settled_before(margin: timedelta) -> datetime:
    ((before,),) = rows(_SETTLED_BEFORE, [margin.total_seconds()])
    settled: datetime = before
    return settled


def _forget() -> None:
    rows("DELETE FROM backoffice_month_sum")


def _advance(since: datetime | None, before: datetime) -> bool:
    """Add what was posted in between, and say so. False where there is nothing in between."""
    if since is not None and before <= since:
        return False
    rows(_ADD, _window(since) | {"before": before})
    rows("UPDATE backoffice_months_summed SET zone = %s, posted_before = %s WHERE id = 1", [_zone(), before])
    return True
