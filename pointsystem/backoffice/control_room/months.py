"""Monthly totals of both sides, for the page that asks the legacy for one month."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from cutover import reconciling
from cutover.reconciling import Line, Month

_MONTHS_IN_A_YEAR: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One month, and its neighbours."""

    month: Month
    before: date
    after: date | None

    @property
    def lines(self) -> Sequence[Line]:
        return self.month.lines


def asked_for(text: str) -> date | None:
    """The month of `YYYY-MM`; this one when nothing is given, None when it is no month that has begun."""
    this = reconciling.this_month()
    if not text:
        return this
    try:
        found = date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
    return found if len(text) == len("2026-01") and found <= this else None


def read(of: date) -> Shown:
    """Raises LegacyError and DatabaseError."""
    month = reconciling.month(of)
    after = _moved(of, 1)
    return Shown(
        month=month,
        before=_moved(of, -1),
        after=after if after <= reconciling.this_month() else None,
    )


def _moved(of: date, by: int) -> date:
    count = of.year * _MONTHS_IN_A_YEAR + of.month - 1 + by
    return date(count // _MONTHS_IN_A_YEAR, count % _MONTHS_IN_A_YEAR + 1, 1)
