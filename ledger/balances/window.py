"""The days that "expiring soon" looks ahead: whole days of the programme, the same all day long."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.conf import settings

from ledger import clock


def expiring_before(*, now: datetime) -> datetime:
    """The end of the last day of the window, in UTC: `POINTS_EXPIRING_SOON_DAYS` days from today."""
    return _midnight_after(now, days=settings.POINTS_EXPIRING_SOON_DAYS)


def day_ends_at(*, now: datetime) -> datetime:
    """The end of today, in UTC: from then on the window is another one."""
    return _midnight_after(now, days=0)


def _midnight_after(now: datetime, *, days: int) -> datetime:
    zone = clock.programme_zone()
    return _midnight(now.astimezone(zone).date() + timedelta(days=days + 1), zone)


@lru_cache(maxsize=16)
def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
