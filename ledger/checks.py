"""System checks of the ledger."""

from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def programme_time_zone_is_known(**kwargs: Any) -> list[CheckMessage]:
    try:
        ZoneInfo(settings.POINTS_TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return [
            Error(
                f"POINTS_TIME_ZONE is {settings.POINTS_TIME_ZONE!r}, which is not a time zone.",
                hint="Use a name of the IANA database, such as Asia/Seoul.",
                id="ledger.E001",
            )
        ]
    return []


@register()
def clock_is_known(**kwargs: Any) -> list[CheckMessage]:
    if settings.POINTS_CLOCK not in ("system", "simulated"):
        return [
            Error(
                f"POINTS_CLOCK is {settings.POINTS_CLOCK!r}.",
                hint="It is 'system', or 'simulated' for demo and tests.",
                id="ledger.E002",
            )
        ]
    return []
