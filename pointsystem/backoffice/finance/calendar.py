"""Months and days of the programme's time zone."""

import re
from datetime import date, datetime, time, timedelta

from ledger import clock

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")


class DateRefused(ValueError):
    """What was typed is no month or day, or one that is still to come."""


def month_of(instant: datetime) -> date:
    """The first day of the month in which `instant` lies."""
    return instant.astimezone(clock.programme_zone()).date().replace(day=1)


def next_month(month: date) -> date:
    return (month.replace(day=1) + timedelta(days=31)).replace(day=1)


def months_between(first: date, last: date) -> list[date]:
    """All months from `first` to `last`, both among them."""
    found = []
    while first <= last:
        found.append(first)
        first = next_month(first)
    return found


def start_of(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime.combine(day, time(), tzinfo=clock.programme_zone())


def month_from(text: str, *, now: datetime) -> date:
    """`2026-03` as a month. Raises DateRefused, also for months to come."""
    found = _MONTH.fullmatch(text)
    try:
        month = date(int(found[1]), int(found[2]), 1) if found else None
    except ValueError:
        month = None
    if month is None or month > month_of(now):
        raise DateRefused(text)
    return month


def day_from(text: str, *, now: datetime) -> date:
    """`2026-03-31` as a day. Raises DateRefused, also for days to come."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise DateRefused(text) from error
    if day > now.astimezone(clock.programme_zone()).date() or day.year < 1970:
        raise DateRefused(text)
    return day
