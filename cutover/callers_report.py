"""What was counted of the callers of procedures, beside what the clients of the API did.

Nothing here asks the legacy, or counts rows of a big table: it reads what `cutover.callers` wrote.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from cutover.callers import day_start
from cutover.models import CallerOrigin, CallerScan
from ledger.clock import programme_zone
from ledger.database import fetch_all

_COUNTED: Final = """
SELECT origin, procedure, caller, sum(rows)::bigint, sum(points)::bigint, min(first_at), max(last_at)
FROM cutover_caller_day
WHERE %(since)s::date IS NULL OR day >= %(since)s::date
GROUP BY origin, procedure, caller
ORDER BY procedure, caller, origin
"""
_UNDECIDED: Final = """
SELECT procedure, caller, count(*), sum(points)::bigint, min(recorded_at), max(recorded_at)
FROM cutover_undecided_row
WHERE %(since)s::timestamptz IS NULL OR recorded_at >= %(since)s::timestamptz
GROUP BY procedure, caller
ORDER BY procedure, caller
"""
_CLIENTS: Final = """
SELECT client.name, max(activity.last_called_at), (
    SELECT coalesce(sum(calls), 0)::bigint FROM ledger_client_activity_day AS counted
    WHERE counted.client_id = client.id AND (%(since)s::date IS NULL OR counted.day >= %(since)s::date)
)
FROM ledger_client AS client LEFT JOIN ledger_client_activity AS activity ON activity.client_id = client.id
WHERE NOT client.is_built_in
GROUP BY client.id
ORDER BY client.name
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Rows of one procedure and caller. Points are signed, as they moved the balances."""

    procedure: str
    caller: str
    rows: int
    points: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLine:
    """A client of the API: None where it never called."""

    name: str
    last_called_at: datetime | None
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Since the day `since` (None: all that was counted). `scan` is None where nobody ever looked."""

    scan: CallerScan | None
    since: date | None
    direct: list[Line]
    through_api: list[Line]
    undecided: list[Line]
    clients: list[ClientLine]

    @property
    def reaches_back(self) -> bool:
        """Whether all days that were asked for are among those that are counted."""
        if self.scan is None:
            return False
        counted = self.scan.counted_since
        return counted is None or self.since is None or day_start(self.since) >= counted


def report(*, since: date | None) -> Report:
    """What is known. Raises DatabaseError."""
    days = {"since": since}
    counted = fetch_all(_COUNTED, days)
    undecided = fetch_all(_UNDECIDED, {"since": None if since is None else day_start(since)})
    return Report(
        scan=CallerScan.objects.filter(id=1).first(),
        since=since,
        direct=[_line(row[1:]) for row in counted if row[0] == CallerOrigin.DIRECT],
        through_api=[_line(row[1:]) for row in counted if row[0] == CallerOrigin.API],
        undecided=[_line(row) for row in undecided],
        clients=[
            ClientLine(name=name, last_called_at=_utc(last), calls=calls)
            for name, last, calls in fetch_all(_CLIENTS, days)
        ],
    )


def as_json(found: Report) -> dict[str, Any]:
    """`callers` is null where the history was never read."""
    scan = found.scan
    return {
        "since": None if found.since is None else found.since.isoformat(),
        "counted_since": None if scan is None else _text(scan.counted_since),
        "counted_at": None if scan is None else _text(scan.reached_end_at),
        "is_complete": scan is not None and not scan.is_behind and found.reaches_back,
        "last_error": (scan.last_error or None) if scan is not None else None,
        "callers": None if scan is None else [_record(line) for line in found.direct],
        "through_api": None if scan is None else [_record(line) for line in found.through_api],
        "not_known_yet": None if scan is None else [_record(line) for line in found.undecided],
        "clients": [
            {"name": client.name, "last_called_at": _text(client.last_called_at), "calls": client.calls}
            for client in found.clients
        ],
    }


def local_text(instant: datetime | None) -> str:
    """A moment in the programme's zone, for people."""
    if instant is None:
        return "never"
    return instant.astimezone(programme_zone()).isoformat(sep=" ", timespec="seconds")


def _line(row: tuple[Any, ...]) -> Line:
    procedure, caller, rows, points, first_at, last_at = row
    return Line(
        procedure=procedure,
        caller=caller,
        rows=rows,
        points=points,
        first_at=first_at.astimezone(UTC),
        last_at=last_at.astimezone(UTC),
    )


def _record(line: Line) -> dict[str, Any]:
    return {
        "procedure": line.procedure,
        "caller": line.caller,
        "rows": line.rows,
        "points": line.points,
        "first_at": line.first_at.isoformat(),
        "last_at": line.last_at.isoformat(),
    }


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.astimezone(UTC)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat()
