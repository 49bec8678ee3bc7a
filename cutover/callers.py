"""Who still calls the procedures of the legacy: its history is read once, and counted by caller.

A row is ours when an operation of the API has it as its counterpart, or the legacy keeps the id of an
operation with it. What is left was called directly. Rows of accounts with an intent that is not settled are
kept apart until it is.

Read in batches in the legacy's own order; what is counted and how far it was read commit together, so a scan
that dies goes on where the last batch ended. Ids are given before rows commit, so a row may appear behind
others: the rows of the last minutes are counted anew by each scan, and for good only after that. A
transaction that stays open for longer than those minutes, while others commit, is missed;
`legacy callers --rescan` counts anew.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import takewhile
from typing import Any, Final

import msgspec
import structlog
from django.db import transaction
from django.db.models import F

from cutover import intents
from cutover.models import CallerDay, CallerOrigin, CallerScan, UndecidedRow
from ledger import clock, crash_points
from ledger.clients import legacy_client_id
from ledger.database import fetch_all
from legacy_bridge import configured, sessions
from legacy_bridge.adapter import Feature
from legacy_bridge.errors import LegacyError, NotRepresentable
from legacy_bridge.records import HistoryRow
from legacy_bridge.unhurried import unhurried_session

log = structlog.get_logger(__name__)

_BATCH_ROWS: Final = 1000
#: A row that is older is taken to have no younger brother with a lower id that has not committed.
_FINAL_AFTER: Final = timedelta(minutes=5)
#: How far back a first scan goes that is not told.
FIRST_SCAN_DAYS: Final = 30
_LONGEST_NAME: Final = 128

_BY_ROW: Final = """
SELECT counterpart_id FROM ledger_operation WHERE counterpart_id = ANY (%s) AND client_id <> %s
"""
_BY_ID: Final = "SELECT id FROM ledger_operation WHERE id = ANY (%s::uuid[]) AND client_id <> %s"
_ADD: Final = """
INSERT INTO cutover_caller_day AS kept (
    day, origin, procedure, caller, is_final, rows, points, first_at, last_at
)
SELECT day, origin, procedure, caller, is_final, rows, points, first_at, last_at
FROM json_to_recordset(%s::json) AS line(
    day date, origin text, procedure text, caller text, is_final boolean, rows bigint, points bigint,
    first_at timestamptz, last_at timestamptz
)
ON CONFLICT (day, origin, procedure, caller, is_final) DO UPDATE
SET rows = kept.rows + EXCLUDED.rows, points = kept.points + EXCLUDED.points,
    first_at = least(kept.first_at, EXCLUDED.first_at), last_at = greatest(kept.last_at, EXCLUDED.last_at)
"""


class NoHistory(Exception):
    """The adapter cannot list the rows of its legacy."""


class _Overtaken(Exception):
    """Another scan wrote meanwhile."""


@dataclass(slots=True)
class _Line:
    first_at: datetime
    last_at: datetime
    rows: int = 0
    points: int = 0


@dataclass(slots=True)
class _Counted:
    """Rows added up: as many lines as days, procedures and callers, and the rows that are not known yet."""

    lines: dict[tuple[date, str, str, str], _Line] = field(default_factory=dict)
    undecided: list[UndecidedRow] = field(default_factory=list)

    def add(self, row: HistoryRow | UndecidedRow, origin: str) -> None:
        day = row.recorded_at.astimezone(clock.programme_zone()).date()
        key = (day, origin, row.procedure[:_LONGEST_NAME], row.caller[:_LONGEST_NAME])
        line = self.lines.setdefault(key, _Line(row.recorded_at, row.recorded_at))
        line.rows += 1
        line.points += row.points
        line.first_at = min(line.first_at, row.recorded_at)
        line.last_at = max(line.last_at, row.recorded_at)

    def write(self, *, is_final: bool) -> None:
        names = ("day", "origin", "procedure", "caller")
        lines = [
            {
                **dict(zip(names, key, strict=True)),
                **{name: getattr(line, name) for name in _Line.__dataclass_fields__},
                "is_final": is_final,
            }
            for key, line in sorted(self.lines.items())
        ]
        if lines:
            fetch_all(_ADD, [msgspec.json.encode(lines).decode()])
        for row in self.undecided:
            row.is_final = is_final
        UndecidedRow.objects.bulk_create(self.undecided, ignore_conflicts=True)


# --- the scan -------------------------------------------------------------------------------------------
def check_history() -> None:
    """Raises NoHistory."""
    if Feature.HISTORY not in configured.adapter().features:
        raise NoHistory("The adapter of this legacy does not list its history: nobody can say who calls it.")


def rescan(*, since: date | None) -> None:
    """Forget what was counted; the next scan begins with the rows of `since`, or with the first."""
    check_history()
    started = None if since is None else day_start(since)
    watermark = None
    if started is not None:
        try:
            watermark = _row_before(started)
        except NotRepresentable:
            # The whole history is read then: all of it may as well be counted.
            started = None
    with transaction.atomic():
        before = CallerScan.objects.select_for_update().filter(id=1).first()
        CallerDay.objects.all().delete()
        UndecidedRow.objects.all().delete()
        CallerScan.objects.update_or_create(
            id=1,
            defaults={
                "counted_since": started,
                "watermark": watermark,
                "watermark_at": None,
                "rows_read": 0,
                "revision": before.revision + 1 if before else 1,
                "reached_end_at": None,
                "is_behind": True,
                "changed_at": datetime.now(UTC),
                "last_error": "",
            },
        )


def scan(
    *,
    now: datetime,
    since: date | None = None,
    budget_seconds: float = float("inf"),
    on_batch: Callable[[CallerScan], object] = lambda state: None,
) -> CallerScan:
    """Count what came since the last scan, for at most `budget_seconds`; where it stands then.

    `now` is business time, as the legacy's rows are. A first scan begins with the rows of `since`, or those
    of the last days; when what was counted begins later than `since`, all is counted anew from there. Raises
    NoHistory, LegacyError and DatabaseError; what was counted before stands.
    """
    check_history()
    state = CallerScan.objects.filter(id=1).first()
    if state is None:
        rescan(since=since or today(now) - timedelta(days=FIRST_SCAN_DAYS))
    elif since is not None and state.counted_since is not None and day_start(since) < state.counted_since:
        rescan(since=since)
    try:
        return _scan(now=now, ends=time.monotonic() + budget_seconds, on_batch=on_batch)
    except NotRepresentable as error:
        raise NoHistory(str(error)) from error
    except LegacyError as error:
        CallerScan.objects.filter(id=1).update(last_error=str(error)[:2000], is_behind=True)
        raise


def _scan(*, now: datetime, ends: float, on_batch: Callable[[CallerScan], object]) -> CallerScan:
    _decide()
    while True:
        state = CallerScan.objects.get(id=1)
        on_batch(state)
        rows = _read_after(state.watermark)
        final = list(takewhile(lambda row: row.recorded_at < now - _FINAL_AFTER, rows))
        # Whoever was overtaken goes on from what the other wrote.
        with suppress(_Overtaken):
            if len(final) == _BATCH_ROWS:
                _commit(state, final, young=None)
                if time.monotonic() > ends:
                    return CallerScan.objects.get(id=1)
            else:
                young, is_all = _count_young(
                    rows[len(final) :], is_all=len(rows) < _BATCH_ROWS, state=state, ends=ends
                )
                _commit(state, final, young=young, is_behind=not is_all)
                return CallerScan.objects.get(id=1)


def _count_young(
    rows: Sequence[HistoryRow], *, is_all: bool, state: CallerScan, ends: float
) -> tuple[_Counted, bool]:
    """Add up the rows that the next scan will see again, a batch at a time; and whether those were all."""
    counted = _Counted()
    _classify(rows, counted, since=state.counted_since)
    while not is_all and time.monotonic() <= ends:
        rows = _read_after(rows[-1].row_id)
        _classify(rows, counted, since=state.counted_since)
        is_all = len(rows) < _BATCH_ROWS
    return counted, is_all


def _commit(
    state: CallerScan,
    final: Sequence[HistoryRow],
    *,
    young: _Counted | None,
    is_behind: bool = True,
) -> None:
    """What was counted, and how far: together. `young` is None when there is more to read first.

    Raises _Overtaken.
    """
    counted = _Counted()
    _classify(final, counted, since=state.counted_since)
    with transaction.atomic():
        changes: dict[str, Any] = {"is_behind": is_behind, "changed_at": datetime.now(UTC), "last_error": ""}
        if final:
            changes |= {"watermark": final[-1].row_id, "watermark_at": final[-1].recorded_at}
        if young is not None and not is_behind:
            changes["reached_end_at"] = datetime.now(UTC)
        if not CallerScan.objects.filter(id=1, revision=state.revision).update(
            revision=F("revision") + 1, rows_read=F("rows_read") + len(final), **changes
        ):
            raise _Overtaken
        CallerDay.objects.filter(is_final=False).delete()
        UndecidedRow.objects.filter(is_final=False).delete()
        counted.write(is_final=True)
        if young is not None:
            young.write(is_final=False)
        crash_points.reach("callers.before_commit")


def _read_after(row_id: str | None) -> Sequence[HistoryRow]:
    with sessions.session() as session:
        return configured.adapter().rows_after(session, row_id=row_id, limit=_BATCH_ROWS)


def _row_before(started: datetime) -> str | None:
    """Where to begin for rows since `started`; None is the beginning. An hour earlier, for rows that have an
    id already and no commit. Raises NotRepresentable."""
    with unhurried_session() as session:
        return configured.adapter().row_before(session, instant=started - timedelta(hours=1))


# --- whose a row is ---------------------------------------------------------------------------------------
def _classify(rows: Sequence[HistoryRow], counted: _Counted, *, since: datetime | None) -> None:
    rows = [row for row in rows if since is None or row.recorded_at >= since]
    is_unsettled, is_ours = _asked(rows)
    for row in rows:
        if is_ours(row):
            counted.add(row, CallerOrigin.API)
        elif is_unsettled(row):
            counted.undecided.append(_undecided(row))
        else:
            counted.add(row, CallerOrigin.DIRECT)


_Asked = Callable[[Any], bool]


def _asked(rows: Iterable[HistoryRow | UndecidedRow]) -> tuple[_Asked, _Asked]:
    """Whether a row's account has an intent that is not settled, and whether a row is ours.

    In this order: a call that is settled before the first question has its row by the second.
    """
    rows = list(rows)
    unsettled = intents.unsettled_accounts(row.account_number for row in rows)
    found = {row_id for (row_id,) in fetch_all(_BY_ROW, [[row.row_id for row in rows], legacy_client_id()])}
    given = [row.operation_id for row in rows if row.operation_id]
    noted = {known for (known,) in fetch_all(_BY_ID, [given, legacy_client_id()])} if given else set()
    return (
        lambda row: row.account_number in unsettled,
        lambda row: row.row_id in found or row.operation_id in noted,
    )


def _undecided(row: HistoryRow) -> UndecidedRow:
    return UndecidedRow(
        row_id=row.row_id,
        account_number=row.account_number,
        operation_id=row.operation_id,
        recorded_at=row.recorded_at,
        procedure=row.procedure[:_LONGEST_NAME],
        caller=row.caller[:_LONGEST_NAME],
        points=row.points,
    )


def _decide() -> None:
    """Count the rows of before whose accounts have no unsettled intent any more."""
    last = ""
    while True:
        rows = list(
            UndecidedRow.objects.filter(is_final=True, row_id__gt=last).order_by("row_id")[:_BATCH_ROWS]
        )
        if not rows:
            return
        last = rows[-1].row_id
        is_unsettled, is_ours = _asked(rows)
        decided = [row for row in rows if is_ours(row) or not is_unsettled(row)]
        with transaction.atomic():
            # A rescan forgets them: it must not come between what is taken away here and what is added.
            CallerScan.objects.select_for_update().get(id=1)
            kept = UndecidedRow.objects.filter(row_id__in=[row.row_id for row in decided], is_final=True)
            there = set(kept.values_list("row_id", flat=True))
            counted = _Counted()
            for row in decided:
                if row.row_id in there:
                    counted.add(row, CallerOrigin.API if is_ours(row) else CallerOrigin.DIRECT)
            kept.delete()
            counted.write(is_final=True)


# --- days -------------------------------------------------------------------------------------------------
def today(now: datetime) -> date:
    """The day of the programme's zone."""
    return now.astimezone(clock.programme_zone()).date()


def day_start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=clock.programme_zone()).astimezone(UTC)
