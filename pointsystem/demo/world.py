"""What the demo does to the point system other than through it: the two clocks, and the jobs of the night."""

import threading
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Final

import psycopg

from cutover import routes
from cutover.models import Stage
from ledger import clock, expiry
from ledger.database import fetch_all, fetch_one
from ledger.tasks import expire_points
from pointsystem.demo.procedures import Procedures
from pointsystem.demo.timeline import ZONE, month_of

TILLS: Final = 2
_WAIT_SECONDS: Final = 120.0
_RING_AGAIN_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02

_STOP_CLOCK: Final = """
INSERT INTO legacy.PT_CLOCK (ROW_NO, FIXED_DTM) VALUES (1, %s)
ON CONFLICT (ROW_NO) DO UPDATE SET FIXED_DTM = EXCLUDED.FIXED_DTM
"""
_LAST_TO_TELL: Final = """
SELECT max(id) FROM cutover_message WHERE direction = 'to_legacy' AND state = 'waiting'
"""
_LEFT_TO_TELL: Final = """
SELECT count(*) FROM cutover_message WHERE direction = 'to_legacy' AND state = 'waiting' AND id <= %s
"""


class NotSettled(Exception):
    """Work that a worker was to do was not done in time."""


def local(instant: datetime) -> datetime:
    """As the legacy keeps it."""
    return instant.astimezone(ZONE).replace(tzinfo=None)


class World:
    """Both sides' clocks always show the same moment. Used by one thread."""

    def __init__(self, legacy_url: str) -> None:
        self._clock = psycopg.connect(legacy_url, autocommit=True, prepare_threshold=1)
        self._procedures = Procedures(legacy_url)
        # Moving a clock is no business of anybody's: it need not wait for the disk.
        for execute in (self._clock.execute, fetch_all):
            execute("SET synchronous_commit = off")
        self.now = datetime.now(tz=ZONE)
        #: One for each till, which holds it while somebody is served.
        self.tills = [threading.Lock() for _ in range(TILLS)]

    def set_clock(self, instant: datetime) -> None:
        """Move both clocks, once the legacy was told all that was decided before. Raises NotSettled.

        Nobody is served in the moment between two months: it would be another month on each side.
        """
        with ExitStack() as stack:
            if month_of(instant) != month_of(self.now):
                self.close_tills(stack)
            self._move(instant)

    def close_tills(self, stack: ExitStack) -> None:
        """Nobody is served at the tills until the end of `stack`."""
        for till in self.tills:
            stack.enter_context(till)

    def _move(self, instant: datetime) -> None:
        self._wait_until_legacy_is_told()
        clock.set_simulated(instant=instant)
        self._clock.execute(_STOP_CLOCK, [local(instant)])
        self.now = instant

    def expire(self) -> None:
        """Post what has lapsed, by the nightly job of the side that decides. Where the legacy follows, points
        lapse there by its own job, which goes on as before. Raises NotSettled."""
        route = routes.current()
        if not route.legacy_decides:
            self._have_ledger_expire()
        if route.stage is not Stage.NEW_ONLY:
            self._procedures.expire(until=local(self.now) - timedelta(minutes=1))

    def close_month(self) -> None:
        """The legacy's own statistics of the month that ends: its jobs run on as long as it is there."""
        self._procedures.close_month(month_of(self.now))
        # A year passes here in a minute, too fast for the server to see by itself how its tables grow.
        self._clock.execute("ANALYZE")

    def close(self) -> None:
        self._clock.close()
        self._procedures.close()

    def _have_ledger_expire(self) -> None:
        """Ring for the expire worker, which beat does every hour, and wait for it."""
        as_of = clock.now()
        started = time.monotonic()
        rung_at = None
        while expiry.count_lapsed(as_of=as_of):
            if time.monotonic() - started > _WAIT_SECONDS:
                raise NotSettled(f"No worker posted what has expired within {_WAIT_SECONDS:.0f} s.")
            if rung_at is None or time.monotonic() - rung_at > _RING_AGAIN_SECONDS:
                expire_points.delay()
                rung_at = time.monotonic()
            time.sleep(_POLL_SECONDS)

    def _wait_until_legacy_is_told(self) -> None:
        """A procedure that ran on a later day than the ledger decided on could come to something else. In
        real life that is a second at midnight; here a day takes less than a second."""
        if not routes.current().capture or self._is_told_no_more():
            return
        last = fetch_one(_LAST_TO_TELL)
        if last is None or last[0] is None:
            return
        started = time.monotonic()
        while not self._is_told_no_more():
            ((left,),) = fetch_all(_LEFT_TO_TELL, [last[0]])
            if not left:
                return
            if time.monotonic() - started > _WAIT_SECONDS:
                raise NotSettled(f"{left} operations were not told to the legacy in {_WAIT_SECONDS:.0f} s.")
            time.sleep(_POLL_SECONDS)

    def _is_told_no_more(self) -> bool:
        route = routes.current()
        return route.is_finished or route.stage is Stage.NEW_ONLY
