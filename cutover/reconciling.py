"""Monthly totals of both sides, by kind and reason, side by side; then by account, then row by row.

Months are those of the legacy's zone. What the migration corrected is no row of the legacy, and stands apart.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from django.conf import settings
from django.db import transaction

from cutover.migrating.importing import MIGRATION_DIFFERENCE
from cutover.mismatches import Found
from cutover.models import Difference, FoundBy, Mismatch
from ledger import clock
from ledger.database import fetch_all, fetch_one
from legacy_bridge import configured
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.sessions import Session
from legacy_bridge.unhurried import unhurried_session

_ROWS_AT_ONCE: Final = 5000

# A row of no points is an operation without an entry. What another side decided and was not posted yet is
# not here.
_TOTALS: Final = """
SELECT date_trunc('month', operation.recorded_at AT TIME ZONE %(zone)s)::date,
    coalesce(entry.kind, operation.kind), CASE WHEN entry.kind = 'expire' THEN NULL ELSE reason.code END,
    count(DISTINCT operation.id),
    coalesce(sum(entry.points), 0)::bigint
FROM ledger_operation AS operation
LEFT JOIN ledger_entry AS entry ON entry.operation_id = operation.id
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE operation.state = 'completed' AND (entry.id IS NOT NULL OR operation.points = 0)
    AND operation.recorded_at >= %(since)s AND operation.recorded_at < %(until)s
GROUP BY 1, 2, 3
"""
_RANGE: Final = """
SELECT (min(recorded_at) AT TIME ZONE %(zone)s)::date, (max(recorded_at) AT TIME ZONE %(zone)s)::date
FROM ledger_operation WHERE state = 'completed'
"""
_OWED: Final = """
SELECT DISTINCT operation.kind
FROM cutover_message AS message JOIN ledger_operation AS operation ON operation.id = message.operation_id
WHERE message.state IN ('waiting', 'parked')
    AND operation.recorded_at >= %(since)s AND operation.recorded_at < %(until)s
"""
_OF_ACCOUNTS: Final = """
SELECT operation.account_number, count(DISTINCT operation.id), coalesce(sum(entry.points), 0)::bigint
FROM ledger_operation AS operation
LEFT JOIN ledger_entry AS entry ON entry.operation_id = operation.id
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE operation.state = 'completed' AND (entry.id IS NOT NULL OR operation.points = 0)
    AND operation.recorded_at >= %(since)s AND operation.recorded_at < %(until)s
    AND reason.code IS DISTINCT FROM %(corrections)s
GROUP BY 1
"""
_OF_ACCOUNT: Final = """
SELECT operation.counterpart_id, operation.id::text, operation.kind,
    coalesce(sum(entry.points), 0)::bigint
FROM ledger_operation AS operation
LEFT JOIN ledger_entry AS entry ON entry.operation_id = operation.id
WHERE operation.account_number = %(account)s AND operation.state = 'completed'
    AND operation.recorded_at >= %(since)s AND operation.recorded_at < %(until)s
    AND (entry.id IS NOT NULL OR operation.points = 0)
GROUP BY operation.id
ORDER BY min(entry.sequence), operation.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One kind and reason of a month. None: that side has no such rows."""

    kind: str
    reason: str | None
    legacy_rows: int
    legacy_points: int
    ledger_rows: int
    ledger_points: int
    #: Why it differs, when that is known.
    explanation: str = ""

    @property
    def is_equal(self) -> bool:
        if self.kind == "expire":
            # Points lapse on both sides by themselves, in rows of each side's own making.
            return self.legacy_points == self.ledger_points
        return (self.legacy_rows, self.legacy_points) == (self.ledger_rows, self.ledger_points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    month: date
    lines: tuple[Line, ...]

    @property
    def name(self) -> str:
        return f"{self.month:%Y-%m}"

    @property
    def is_explained(self) -> bool:
        return all(line.is_equal or line.explanation for line in self.lines)

    def subject_of(self, line: Line) -> str:
        return f"month:{self.name}:{line.kind}:{line.reason or '-'}"

    def unexplained(self) -> Iterator[Found]:
        """Its differences, as they are recorded."""
        for line in self.lines:
            if line.is_equal or line.explanation:
                continue
            yield Found(
                account_number="",
                subject=self.subject_of(line),
                difference=Difference.REAL,
                legacy=[line.legacy_rows, line.legacy_points],
                ledger=[line.ledger_rows, line.ledger_points],
                why="Other rows and points in this month.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLine:
    """An account whose rows of a month differ: rows and points of each side."""

    account_number: str
    legacy_rows: int
    legacy_points: int
    ledger_rows: int
    ledger_points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLine:
    """A row of the legacy and the operation that it is; None where one side has it alone."""

    row_id: str | None
    operation_id: str | None
    kind: str
    legacy_points: int | None
    ledger_points: int | None

    @property
    def is_equal(self) -> bool:
        return self.legacy_points == self.ledger_points


def month(of: date) -> Month:
    """Both sides of the month that begins with this day. Raises LegacyError, DatabaseError."""
    with unhurried_session() as session:
        ledger = _ledger_totals(since=_begin(of), until=_begin(_next(of)))
        return _compare(configured.adapter(), session, of, ledger.get(of, {}))


def all_months(adapter: LegacyAdapter, session: Session) -> Iterator[Month]:
    """All months of which the ledger has anything. Raises LegacyError, DatabaseError."""
    row = fetch_one(_RANGE, {"zone": _zone_name()})
    if row is None or row[0] is None:
        return
    first, last = row[0].replace(day=1), row[1].replace(day=1)
    ledger = _ledger_totals(since=_begin(first), until=_begin(_next(last)))
    while first <= last:
        yield _compare(adapter, session, first, ledger.get(first, {}))
        first = _next(first)


_Totals = dict[tuple[str, str | None], tuple[int, int]]


def _ledger_totals(*, since: datetime, until: datetime) -> dict[date, _Totals]:
    with transaction.atomic():
        # It reads all of it, however much that is.
        fetch_all("SELECT set_config('statement_timeout', '0', true)")
        rows = fetch_all(_TOTALS, {"zone": _zone_name(), "since": since, "until": until})
    totals: dict[date, _Totals] = defaultdict(dict)
    for of, kind, reason, count, points in rows:
        totals[of][kind, reason] = (count, points)
    return totals


def _compare(adapter: LegacyAdapter, session: Session, of: date, ledger: _Totals) -> Month:
    legacy: _Totals = {
        (total.kind.value, total.reason): (total.rows, total.points)
        for total in adapter.monthly_totals(session, month=of)
    }
    owed = {row[0] for row in fetch_all(_OWED, {"since": _begin(of), "until": _begin(_next(of))})}
    lines = []
    for kind, reason in sorted({*legacy, *ledger}, key=lambda key: (key[0], key[1] or "")):
        line = Line(
            kind=kind,
            reason=reason,
            legacy_rows=legacy.get((kind, reason), (0, 0))[0],
            legacy_points=legacy.get((kind, reason), (0, 0))[1],
            ledger_rows=ledger.get((kind, reason), (0, 0))[0],
            ledger_points=ledger.get((kind, reason), (0, 0))[1],
        )
        lines.append(line)
    found = Month(month=of, lines=tuple(lines))
    return Month(month=of, lines=tuple(_explained(found, line, owed) for line in found.lines))


def _explained(of: Month, line: Line, owed: set[str]) -> Line:
    explanation = ""
    if line.is_equal:
        return line
    if line.reason == MIGRATION_DIFFERENCE:
        explanation = "corrections of the migration"
    elif line.kind in owed:
        explanation = "behind: messages are waiting"
    else:
        explanation = _resolution(of, line)
    return Line(
        kind=line.kind,
        reason=line.reason,
        legacy_rows=line.legacy_rows,
        legacy_points=line.legacy_points,
        ledger_rows=line.ledger_rows,
        ledger_points=line.ledger_points,
        explanation=explanation,
    )


def _resolution(of: Month, line: Line) -> str:
    """What a person said of exactly this difference."""
    said = {
        "legacy": [line.legacy_rows, line.legacy_points],
        "ledger": [line.ledger_rows, line.ledger_points],
    }
    found = (
        Mismatch.objects.filter(
            subject=of.subject_of(line), said=said, resolved_at__isnull=False, account_number=""
        )
        .exclude(resolved_by__in=FoundBy.values)
        .order_by("-id")
        .first()
    )
    return found.resolution if found else ""


# --- deeper -------------------------------------------------------------------------------------------------
def accounts(of: date, *, limit: int = 100) -> list[AccountLine]:
    """Accounts whose rows of a month differ, at most `limit`. Raises LegacyError, DatabaseError."""
    parameters = {
        "since": _begin(of),
        "until": _begin(_next(of)),
        "corrections": MIGRATION_DIFFERENCE,
    }
    with transaction.atomic():
        fetch_all("SELECT set_config('statement_timeout', '0', true)")
        ledger = {row[0]: (row[1], row[2]) for row in fetch_all(_OF_ACCOUNTS, parameters)}
    legacy: Mapping[str, tuple[int, int]] = _of_accounts_in_legacy(of)
    differ = [
        number
        for number in sorted({*legacy, *ledger})
        if legacy.get(number, (0, 0)) != ledger.get(number, (0, 0))
    ]
    return [
        AccountLine(
            account_number=number,
            legacy_rows=legacy.get(number, (0, 0))[0],
            legacy_points=legacy.get(number, (0, 0))[1],
            ledger_rows=ledger.get(number, (0, 0))[0],
            ledger_points=ledger.get(number, (0, 0))[1],
        )
        for number in differ[:limit]
    ]


def _of_accounts_in_legacy(of: date) -> dict[str, tuple[int, int]]:
    adapter = configured.adapter()
    sums: dict[str, tuple[int, int]] = {}
    begins, ends = _begin(of), _begin(_next(of))
    with unhurried_session() as session:
        try:
            place = adapter.row_before(session, instant=begins)
        except NotRepresentable:
            place = None
        while rows := adapter.rows_after(session, row_id=place, limit=_ROWS_AT_ONCE):
            for row in rows:
                if begins <= row.recorded_at < ends:
                    count, points = sums.get(row.account_number, (0, 0))
                    sums[row.account_number] = (count + 1, points + row.points)
            place = rows[-1].row_id
    return sums


def operations(of: date, *, account_number: str) -> list[RowLine]:
    """Every row of an account and month beside its operation. Raises LegacyError, DatabaseError."""
    begins, ends = _begin(of), _begin(_next(of))
    adapter = configured.adapter()
    rows = {}
    place = None
    with unhurried_session() as session:
        while found := adapter.rows_after(
            session, row_id=place, limit=_ROWS_AT_ONCE, account_number=account_number
        ):
            rows.update({row.row_id: row for row in found if begins <= row.recorded_at < ends})
            place = found[-1].row_id
    lines = []
    for row_id, operation_id, kind, points in fetch_all(
        _OF_ACCOUNT, {"account": account_number, "since": begins, "until": ends}
    ):
        row = rows.pop(row_id, None) if row_id else None
        lines.append(
            RowLine(
                row_id=row_id,
                operation_id=operation_id,
                kind=kind,
                legacy_points=row.points if row else None,
                ledger_points=points,
            )
        )
    return lines + [
        RowLine(
            row_id=row.row_id,
            operation_id=None,
            kind=row.kind.value,
            legacy_points=row.points,
            ledger_points=None,
        )
        for row in rows.values()
    ]


# --- months -------------------------------------------------------------------------------------------------
def this_month() -> date:
    """The month that is, in the legacy's zone."""
    return clock.now().astimezone(configured.adapter().zone).date().replace(day=1)


def _next(of: date) -> date:
    return date(of.year + of.month // 12, of.month % 12 + 1, 1)


def _begin(of: date) -> datetime:
    return datetime(of.year, of.month, 1, tzinfo=configured.adapter().zone)


def _zone_name() -> str:
    return str(configured.adapter().zone.key or settings.POINTS_LEGACY_TIME_ZONE)
