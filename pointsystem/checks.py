"""System checks of the house: what would be dangerous in production is refused before the first request."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register, run_checks
from django.core.exceptions import ImproperlyConfigured

TAG = "points"
CLOCKS = ("system", "simulated")


@register(TAG)
def check_clock(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The simulated clock is for the demo and tests alone: on it, anyone could let points live for ever."""
    if settings.POINTS_CLOCK not in CLOCKS:
        return [
            Error(
                f"POINTS_CLOCK is {settings.POINTS_CLOCK!r}.",
                hint=f"It must be one of: {', '.join(CLOCKS)}.",
                id="points.E001",
            )
        ]
    if settings.POINTS_CLOCK == "simulated" and not settings.ON_OWN_MACHINE:
        return [
            Error(
                "POINTS_CLOCK=simulated is refused outside the embedded stack and the tests.",
                hint="Unset POINTS_CLOCK.",
                id="points.E002",
            )
        ]
    return []


@register(TAG, deploy=True)
def check_clock_in_deployment(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    if settings.POINTS_CLOCK == "simulated":
        return [
            Error("POINTS_CLOCK=simulated in production.", hint="Unset POINTS_CLOCK.", id="points.E003"),
        ]
    return []


@register(TAG)
def check_time_zone(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    try:
        ZoneInfo(settings.POINTS_TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return [
            Error(
                f"POINTS_TIME_ZONE is {settings.POINTS_TIME_ZONE!r}, which no time zone is called.",
                hint="Give a name of the tz database, such as Asia/Seoul.",
                id="points.E004",
            )
        ]
    return []


def refuse_errors() -> None:
    """Raise ImproperlyConfigured where a check of this module finds an error.

    Web servers and workers do not run system checks by themselves.
    """
    errors = [message for message in run_checks(tags=[TAG], databases=["default"]) if message.is_serious()]
    if errors:
        raise ImproperlyConfigured("; ".join(str(message) for message in errors))
