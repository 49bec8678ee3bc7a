"""The days of the calendar, each with what happens on it, and the instants at which it happens."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pointsystem.demo.customers import Return, return_of
from pointsystem.demo.orders import Order

TIME_ZONE: Final = "Asia/Seoul"
ZONE: Final = ZoneInfo(TIME_ZONE)

#: On these days customers are given points that lapse after two months.
EVENT_POINTS: Final = 100
EVENT_DAYS_VALID: Final = 60

_LAST_DAY: Final = date(1998, 6, 30)
_SUNDAY: Final = 6


@dataclass(slots=True, kw_only=True)
class Day:
    """One day, with what each account does on it in this order: returns, then orders."""

    date: date
    orders: dict[str, list[Order]] = field(default_factory=lambda: defaultdict(list))
    returns: dict[str, list[Return]] = field(default_factory=lambda: defaultdict(list))

    @property
    def morning(self) -> datetime:
        return datetime.combine(self.date, time(8), tzinfo=ZONE)

    @property
    def noon(self) -> datetime:
        return datetime.combine(self.date, time(12), tzinfo=ZONE)

    @property
    def evening(self) -> datetime:
        return datetime.combine(self.date, time(20), tzinfo=ZONE)

    @property
    def night(self) -> datetime:
        return datetime.combine(self.date, time(23, 59), tzinfo=ZONE)

    @property
    def is_last_of_month(self) -> bool:
        return (self.date + timedelta(days=1)).day == 1

    @property
    def has_expiry_run(self) -> bool:
        """Every Sunday, and on the last day of a month, so that each month's expiries are posted in it."""
        return self.date.weekday() == _SUNDAY or self.is_last_of_month

    @property
    def month(self) -> str:
        return month_of(self.noon)

    @property
    def account_numbers(self) -> list[str]:
        return sorted({*self.orders, *self.returns})


def plan(orders: Sequence[Order]) -> list[Day]:
    """All days from the first order's month to the end of the story, with returns that fall into it."""
    first = min(order.day for order in orders).replace(day=1)
    last = max(_LAST_DAY, *(order.day for order in orders))
    days = {
        first + timedelta(days=number): Day(date=first + timedelta(days=number))
        for number in range((last - first).days + 1)
    }
    for order in orders:
        days[order.day].orders[order.account_number].append(order)
        coming_back = return_of(order)
        if coming_back is not None and order.day + coming_back.after in days:
            days[order.day + coming_back.after].returns[order.account_number].append(coming_back)
    return list(days.values())


def month_of(instant: datetime) -> str:
    """The month of the programme that `instant` falls into, as YYYY-MM."""
    return instant.astimezone(ZONE).strftime("%Y-%m")


def end_of_day(day: date) -> datetime:
    """The first instant after `day` in the programme's time zone."""
    return datetime.combine(day + timedelta(days=1), time(0), tzinfo=ZONE)
