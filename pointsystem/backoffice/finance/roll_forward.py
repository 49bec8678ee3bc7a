"""The monthly roll-forward: opening + earned - cancelled - spent + restored - expired +- ... = closing.

A reason is the one for which the lots were earned that an entry moved: so each row is a sum over lots, and
its closing is what remains in the lots of that reason.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from ledger.models import EntryKind, Reason
from pointsystem.backoffice.finance import calendar, liability, months
from pointsystem.backoffice.finance.months import Movement

#: The columns between opening and closing, in their order.
KINDS: Final = (
    EntryKind.EARN,
    EntryKind.EARN_CANCEL,
    EntryKind.SPEND,
    EntryKind.SPEND_CANCEL,
    EntryKind.EXPIRE,
    EntryKind.ADJUST,
    EntryKind.TRANSFER_OUT,
    EntryKind.TRANSFER_IN,
    EntryKind.CLAWBACK,
)

_REMAINING: Final = """
SELECT lot.reason_id, sum(open.remaining)::bigint
FROM ledger_open_lot AS open JOIN ledger_lot AS lot ON lot.id = open.lot_id GROUP BY 1
"""
_BALANCES: Final = "SELECT coalesce(sum(balance), 0)::bigint FROM ledger_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row: of a month, or of a reason within a month."""

    month: date
    #: The code of the reason; empty for the sum of all.
    reason: str = ""
    opening: int
    #: Signed points by kind of entry; a kind that is missing moved nothing.
    moved: Mapping[str, int] = field(default_factory=dict)

    @property
    def closing(self) -> int:
        return self.opening + sum(self.moved.values())

    @property
    def cells(self) -> list[int]:
        """What moved, in the order of `KINDS`."""
        return [self.moved.get(kind, 0) for kind in KINDS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A closing figure beside what the lots say of the same instant."""

    reason: str
    closing: int
    in_lots: int

    @property
    def agrees(self) -> bool:
        return self.closing == self.in_lots


@dataclass(frozen=True, slots=True, kw_only=True)
class RollForward:
    """All months, oldest first, and how the last closing stands to lots and balances."""

    months: Sequence[Line]
    #: By reason, within each month.
    reasons: Mapping[date, Sequence[Line]]
    check: Check
    balances: int
    now: datetime

    @property
    def ties(self) -> bool:
        return self.check.agrees and self.balances == self.check.in_lots


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """One month by reason, and each closing beside the lots at that instant."""

    total: Line
    reasons: Sequence[Line]
    #: The sum first, then the reasons.
    checks: Sequence[Check]
    is_over: bool

    @property
    def ties(self) -> bool:
        return all(check.agrees for check in self.checks)


def roll_forward(*, now: datetime) -> RollForward:
    """All months up to the one of `now`, from one snapshot."""
    months.bring_forward_if_behind()
    with months.one_snapshot():
        moved = months.movements()
        remaining = sum(points for _, points in months.rows(_REMAINING))
        ((balances,),) = months.rows(_BALANCES)
        codes = _codes()
    by_reason = _chained(moved, codes, until=calendar.month_of(now))
    totals = [_total(month, lines) for month, lines in by_reason.items()]
    closing = totals[-1].closing if totals else 0
    return RollForward(
        months=totals,
        reasons=by_reason,
        check=Check(reason="", closing=closing, in_lots=remaining),
        balances=balances,
        now=now,
    )


def month_by_reason(*, month: date, now: datetime) -> Month:
    """One month by reason, checked against every lot as it stood when the month ended (or stands now)."""
    months.bring_forward_if_behind()
    is_over = month < calendar.month_of(now)
    with months.one_snapshot():
        moved = months.movements()
        lots = liability.remaining_by_reason(
            at=calendar.start_of(calendar.next_month(month)) if is_over else None
        )
        codes = _codes()
    chained = _chained(moved, codes, until=month)
    lines = chained.get(month, [])
    total = _total(month, lines)
    return Month(
        total=total,
        reasons=lines,
        checks=_checks(total, lines, {codes.get(reason, str(reason)): sum_ for reason, sum_ in lots.items()}),
        is_over=is_over,
    )


def _checks(total: Line, lines: Sequence[Line], in_lots: Mapping[str, int]) -> list[Check]:
    closing = {line.reason: line.closing for line in lines}
    return [
        Check(reason="", closing=total.closing, in_lots=sum(in_lots.values())),
        *(
            Check(reason=reason, closing=closing.get(reason, 0), in_lots=in_lots.get(reason, 0))
            for reason in sorted({*closing, *in_lots})
        ),
    ]


def _codes() -> dict[int, str]:
    return dict(Reason.objects.values_list("id", "code"))


def _chained(moved: Iterable[Movement], codes: Mapping[int, str], *, until: date) -> dict[date, list[Line]]:
    """Every month from the first with a movement to `until`, each opening with what the last one left.

    Movements recorded after `until` (a clock that was ahead) are in no month, and so break the check.
    """
    sums: dict[date, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for each in moved:
        sums[each.month][codes.get(each.reason_id, str(each.reason_id))][each.kind] = each.points
    if not sums:
        return {}
    openings: dict[str, int] = {}
    chained: dict[date, list[Line]] = {}
    for at in calendar.months_between(min(sums), until):
        here = sums.get(at, {})
        # A reason without points and without movements is not listed.
        names = sorted({*(name for name, opening in openings.items() if opening), *here})
        chained[at] = [
            Line(month=at, reason=name, opening=openings.get(name, 0), moved=here.get(name, {}))
            for name in names
        ]
        openings.update({line.reason: line.closing for line in chained[at]})
    return chained


def _total(month: date, lines: Iterable[Line]) -> Line:
    opening = 0
    moved: dict[str, int] = {kind.value: 0 for kind in KINDS}
    for line in lines:
        opening += line.opening
        for kind, points in line.moved.items():
            moved[kind] += points
    return Line(month=month, opening=opening, moved=moved)
