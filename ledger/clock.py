"""The one clock of all business time.

Business time is PostgreSQL's, so that no host's own clock decides what has expired. `now` reads it
without a round trip: the distance between the database's clock and this process's monotonic clock
is measured once and again every few seconds. With `POINTS_CLOCK=simulated` (demo and tests) the
time is a row in the database that `set_simulated` moves; the rules do not change.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection

from ledger.database import fetch_one

_CALIBRATE_EVERY_SECONDS = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_lock = threading.Lock()
_offset_seconds = 0.0
_calibrated_at: float | None = None


def is_simulated() -> bool:
    return settings.POINTS_CLOCK == "simulated"


def now_expression() -> str:
    """The SQL expression for the business time at this very moment."""
    if is_simulated():
        return "(SELECT instant FROM ledger_simulated_clock WHERE id = 1)"
    return "clock_timestamp()"


def now() -> datetime:
    """The business time, aware and in UTC. Raises OperationalError when it must ask and cannot."""
    if is_simulated():
        return read()
    if _calibrated_at is None or time.monotonic() - _calibrated_at > _CALIBRATE_EVERY_SECONDS:
        _calibrate()
    return _EPOCH + timedelta(seconds=time.monotonic() + _offset_seconds)


def read() -> datetime:
    """Ask the database for the business time, with a round trip."""
    row = fetch_one(f"SELECT {now_expression()}")
    if row is None or row[0] is None:
        return _start_simulation()
    instant: datetime = row[0]
    return instant.astimezone(UTC)


def _calibrate() -> None:
    global _offset_seconds, _calibrated_at
    before = time.monotonic()
    instant = read()
    after = time.monotonic()
    with _lock:
        _offset_seconds = (instant - _EPOCH).total_seconds() - (before + after) / 2
        _calibrated_at = after


def _start_simulation() -> datetime:
    """A simulated clock that nobody set starts at the real time, and stands still."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_simulated_clock (id, instant) VALUES (1, clock_timestamp())"
            " ON CONFLICT (id) DO UPDATE SET instant = ledger_simulated_clock.instant RETURNING instant"
        )
        (instant,) = cursor.fetchone()
    started: datetime = instant.astimezone(UTC)
    return started


def set_simulated(*, instant: datetime) -> None:
    """Move the simulated clock to `instant` (aware). Raises RuntimeError when the clock is real."""
    if not is_simulated():
        raise RuntimeError("the clock is not simulated: POINTS_CLOCK is not 'simulated'")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_simulated_clock (id, instant) VALUES (1, %s)"
            " ON CONFLICT (id) DO UPDATE SET instant = EXCLUDED.instant",
            [instant],
        )


def programme_zone() -> ZoneInfo:
    """The time zone whose days are the programme's days (`POINTS_TIME_ZONE`)."""
    return ZoneInfo(settings.POINTS_TIME_ZONE)
