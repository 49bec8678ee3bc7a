"""What is owed: points left in lots at an instant, by age and by the month in which they expire.

Open lots say what is left now. What was left at an earlier instant is that, less what entries recorded since
have moved: so looking back costs what happened since, and not what happened ever.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from ledger import clock
from pointsystem.backoffice.finance import calendar, months

#: Ages are told by the month up to here, and in one line beyond.
OLDEST_MONTHS: Final = 36
#: An entry is posted when it is recorded or later, but for clocks of other sides that go wrong by so much.
_CLOCKS_DIFFER: Final = timedelta(days=1)

_LOTS_NOW: Final = "SELECT lot_id, remaining FROM ledger_open_lot"
_LOTS_AT: Final = """
SELECT coalesce(open.lot_id, later.lot_id) AS lot_id,
    coalesce(open.remaining, 0) - coalesce(later.points, 0) AS remaining
FROM ledger_open_lot AS open
FULL JOIN (
    SELECT allocation.lot_id, sum(allocation.points)::bigint AS points
    FROM ledger_entry AS entry
    JOIN ledger_allocation AS allocation ON allocation.entry_id = entry.id
    WHERE entry.recorded_at >= %(at)s AND entry.posted_at >= %(posted_since)s
    GROUP BY 1
) AS later ON later.lot_id = open.lot_id
"""
_BY_REASON: Final = """
SELECT lot.reason_id, sum(held.remaining)::bigint
FROM ({lots}) AS held JOIN ledger_lot AS lot ON lot.id = held.lot_id
WHERE held.remaining <> 0 GROUP BY 1
"""
_BY_AGE_AND_EXPIRY: Final = """
SELECT least(extract(year FROM age.passed) * 12 + extract(month FROM age.passed), {oldest})::int,
    CASE WHEN lot.expires_at > %(at)s
        THEN date_trunc('month', lot.expires_at AT TIME ZONE %(zone)s)::date END,
    coalesce(lot.expires_at <= %(at)s, false), sum(held.remaining)::bigint, count(*)
FROM ({lots}) AS held
JOIN ledger_lot AS lot ON lot.id = held.lot_id
CROSS JOIN LATERAL (
    SELECT age(%(at)s AT TIME ZONE %(zone)s, lot.earned_at AT TIME ZONE %(zone)s) AS passed
) AS age
WHERE held.remaining <> 0 GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of what is owed."""

    points: int
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfAge(Share):
    #: Whole months since they were earned; `OLDEST_MONTHS` stands for that and more.
    months: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OfExpiry(Share):
    #: The first day of the month; None for what never expires.
    month: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Liability:
    """What is left in lots at `at`."""

    at: datetime
    #: What can still be spent, youngest first.
    ages: Sequence[OfAge]
    #: The same, soonest first, what never expires last.
    expiries: Sequence[OfExpiry]
    #: Past its expiry, and not yet written down as expired.
    lapsed: Share
    #: What the roll-forward says is left at the same instant.
    closing: int

    @property
    def live(self) -> Share:
        return _sum(self.ages)

    @property
    def in_lots(self) -> int:
        return self.live.points + self.lapsed.points

    @property
    def ties(self) -> bool:
        return self.in_lots == self.closing


def liability(*, day: date | None, now: datetime) -> Liability:
    """What is owed at the end of `day`; now, for today and for None."""
    months.bring_forward_if_behind()
    today = now.astimezone(clock.programme_zone()).date()
    at = None if day is None or day >= today else calendar.start_of(day + timedelta(days=1))
    with months.one_snapshot():
        found = _read(_BY_AGE_AND_EXPIRY, at=at, now=now)
        closing = _closing(at)
    ages, expiries, lapsed = _grouped(found)
    return Liability(
        at=at or now,
        ages=[OfAge(months=age, points=points, lots=lots) for age, (points, lots) in sorted(ages.items())],
        expiries=[
            OfExpiry(month=month, points=points, lots=lots)
            for month, (points, lots) in sorted(
                expiries.items(), key=lambda each: (each[0] is None, each[0] or date.max)
            )
        ],
        lapsed=lapsed,
        closing=closing,
    )


def remaining_by_reason(*, at: datetime | None) -> dict[int, int]:
    """What was left in the lots of each reason at `at`, or is left now. To be read in `one_snapshot`."""
    return dict(_read(_BY_REASON, at=at, now=None))


def _read(statement: str, *, at: datetime | None, now: datetime | None) -> list[tuple[Any, ...]]:
    lots = _LOTS_NOW if at is None else _LOTS_AT
    values: dict[str, Any] = {"at": at or now, "zone": clock.programme_zone().key}
    # A simulated clock has nothing to do with when a row was written.
    values["posted_since"] = "-infinity" if at is None or clock.is_simulated() else at - _CLOCKS_DIFFER
    return months.rows(statement.format(lots=lots, oldest=OLDEST_MONTHS), values)


_CLOSING: Final = """
SELECT coalesce(sum(points), 0)::bigint FROM ledger_entry
WHERE recorded_at >= %(start)s AND recorded_at < %(at)s AND posted_at >= %(posted_since)s
"""


def _closing(at: datetime | None) -> int:
    """What all months before make, and of the month in which `at` lies the entries before it."""
    moved = months.movements()
    if at is None:
        return sum(each.points for each in moved)
    month = calendar.month_of(at)
    start = calendar.start_of(month)
    since = "-infinity" if clock.is_simulated() else start - _CLOCKS_DIFFER
    ((inside,),) = months.rows(_CLOSING, {"start": start, "at": at, "posted_since": since})
    return int(inside) + sum(each.points for each in moved if each.month < month)


def _grouped(
    found: Iterable[tuple[Any, ...]],
) -> tuple[dict[int, tuple[int, int]], dict[date | None, tuple[int, int]], Share]:
    ages: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    expiries: dict[date | None, tuple[int, int]] = defaultdict(lambda: (0, 0))
    lapsed = Share(points=0, lots=0)
    for age, month, is_lapsed, points, lots in found:
        if is_lapsed:
            lapsed = Share(points=lapsed.points + points, lots=lapsed.lots + lots)
            continue
        ages[age] = (ages[age][0] + points, ages[age][1] + lots)
        expiries[month] = (expiries[month][0] + points, expiries[month][1] + lots)
    return ages, expiries, lapsed


def _sum(shares: Iterable[Share]) -> Share:
    all_of_them = list(shares)
    return Share(points=sum(each.points for each in all_of_them), lots=sum(each.lots for each in all_of_them))
