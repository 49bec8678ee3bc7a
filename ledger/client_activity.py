"""Which client calls which operation of the API: when last, and how much.

A request only appends to a queue of this process, which CPython does without a lock. A thread of the process,
started by the first request, adds up what gathered and writes it every few seconds, and once more when the
process ends. So a process that is killed loses what it counted in those seconds, and a COMMIT whose answer
is lost may count them twice: this tells an operator who still calls, and is no ledger.

Moments are those of the host's own clock, and days those of the programme's zone in real time: a simulated
clock says nothing of when a client really called.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from multiprocessing.util import Finalize
from typing import Any, Final

import msgspec
import structlog
from django.db import connection
from django.db.models import BigIntegerField, F, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from ledger import clock
from ledger.database import fetch_all
from ledger.models import ClientActivity, ClientActivityDay

log = structlog.get_logger(__name__)

_WRITE_EVERY_SECONDS: Final = 3.0
_AT_EXIT_SECONDS: Final = 2.0
#: Only if the thread could not run for minutes is this ever reached; the oldest calls go uncounted then.
_MOST_GATHERED: Final = 1_000_000
#: A day of any time zone begins at one of these.
_QUARTER_SECONDS: Final = 900

# A client that is not there (any more) would refuse the rest of its lines too. Ordered, so that processes
# that write at the same time wait for each other and never in a circle.
_WRITE: Final = """
WITH gathered AS MATERIALIZED (
    SELECT line.* FROM json_to_recordset(%s::json) AS line(
        client_id integer, operation text, day date, calls bigint, refused bigint, points bigint,
        last_called_at timestamptz
    ) JOIN ledger_client AS client ON client.id = line.client_id
), totals AS (
    INSERT INTO ledger_client_activity AS kept (client_id, operation, calls, refused, points, last_called_at)
    SELECT client_id, operation, sum(calls)::bigint, sum(refused)::bigint, sum(points)::bigint,
        max(last_called_at)
    FROM gathered GROUP BY client_id, operation ORDER BY client_id, operation
    ON CONFLICT (client_id, operation) DO UPDATE
    SET calls = kept.calls + EXCLUDED.calls, refused = kept.refused + EXCLUDED.refused,
        points = kept.points + EXCLUDED.points,
        last_called_at = greatest(kept.last_called_at, EXCLUDED.last_called_at)
)
INSERT INTO ledger_client_activity_day AS kept (client_id, operation, day, calls, refused, points)
SELECT client_id, operation, day, sum(calls)::bigint, sum(refused)::bigint, sum(points)::bigint
FROM gathered GROUP BY client_id, operation, day ORDER BY client_id, operation, day
ON CONFLICT (client_id, operation, day) DO UPDATE
SET calls = kept.calls + EXCLUDED.calls, refused = kept.refused + EXCLUDED.refused,
    points = kept.points + EXCLUDED.points
"""


class _Sum:
    """Calls of one client, operation and quarter of an hour."""

    __slots__ = ("calls", "last_called", "points", "refused")

    def __init__(self) -> None:
        self.calls = self.refused = 0
        self.points: int | None = None
        self.last_called = 0.0


class _Counter:
    """What gathers in this process, and the thread that writes it."""

    def __init__(self) -> None:
        self.calls: deque[tuple[int, str, float, bool, int | None]] = deque(maxlen=_MOST_GATHERED)
        self.thread: threading.Thread | None = None
        self._sums: dict[tuple[int, str, int], _Sum] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._has_failed = False

    def start(self) -> None:
        with self._lock:
            if self.thread is not None:
                return
            thread = threading.Thread(target=self._run, name="points-client-activity", daemon=True)
            # While the interpreter ends there are no new threads.
            with suppress(RuntimeError):
                thread.start()
                self.thread = thread
                # Not `atexit`, which a process of the web server, forked by multiprocessing, never runs.
                Finalize(None, self.end, exitpriority=10)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ending.wait(_WRITE_EVERY_SECONDS)
            try:
                self.write()
            except Exception as error:
                # Whatever it is, this thread must live; what was added up is kept for the next time. At the
                # end there is none, and perhaps nobody left to tell.
                if not self._has_failed and not is_last:
                    log.warning("client_activity_not_written", error=str(error).strip()[:500])
                self._has_failed = True
            finally:
                # A connection that is used every few seconds is not worth keeping.
                with suppress(Exception):
                    connection.close()

    def write(self) -> None:
        """Add up what gathered and write it. Raises DatabaseError; then it is kept."""
        with self._lock:
            self._add_up()
            if not self._sums:
                return
            fetch_all(_WRITE, [msgspec.json.encode(list(self._lines())).decode()])
            self._sums.clear()
            self._has_failed = False

    def _add_up(self) -> None:
        for _ in range(len(self.calls)):
            client_id, operation, called, is_refused, points = self.calls.popleft()
            key = (client_id, operation, int(called) // _QUARTER_SECONDS)
            found = self._sums.get(key)
            if found is None:
                found = self._sums[key] = _Sum()
            found.calls += 1
            found.refused += is_refused
            if points is not None:
                found.points = (found.points or 0) + points
            found.last_called = max(found.last_called, called)

    def _lines(self) -> Iterator[dict[str, Any]]:
        zone = clock.programme_zone()
        for (client_id, operation, quarter), found in self._sums.items():
            yield {
                "client_id": client_id,
                "operation": operation,
                "day": datetime.fromtimestamp(quarter * _QUARTER_SECONDS, zone).date(),
                "calls": found.calls,
                "refused": found.refused,
                "points": found.points,
                "last_called_at": datetime.fromtimestamp(found.last_called, UTC),
            }

    def end(self) -> None:
        """Write what is left: at the end of the process, and for a moment only."""
        if self.thread is not None:
            self._ending.set()
            self.thread.join(_AT_EXIT_SECONDS)


_counter = _Counter()


# --- written --------------------------------------------------------------------------------------------
def count(*, client_id: int, operation: str, is_refused: bool, points: int | None) -> None:
    """Count one call that was just answered. Costs next to nothing, and raises nothing.

    `points` are those that it moved; None where the call does not say.
    """
    _counter.calls.append((client_id, operation, time.time(), is_refused, points))
    if _counter.thread is None:
        _counter.start()


def write_now() -> None:
    """Write what this process has counted, on the caller's own connection. Raises DatabaseError."""
    _counter.write()


def reset() -> None:
    """Start anew in a forked child: what has gathered is the parent's to write."""
    global _counter
    _counter = _Counter()


os.register_at_fork(after_in_child=reset)


# --- read -----------------------------------------------------------------------------------------------
def today() -> date:
    """The day of the programme's zone, in real time."""
    return datetime.now(clock.programme_zone()).date()


def activities() -> QuerySet[ClientActivity]:
    """All of them with `calls_today` and `calls_7_days` (today and the six days before), in one query."""
    this_day = today()
    days = ClientActivityDay.objects.filter(client=OuterRef("client"), operation=OuterRef("operation"))
    return (
        ClientActivity.objects.select_related("client")
        .annotate(
            calls_today=_calls(days.filter(day=this_day)),
            calls_7_days=_calls(days.filter(day__gt=this_day - timedelta(days=7))),
        )
        .order_by("client__name", F("operation"))
    )


def _calls(days: QuerySet[ClientActivityDay]) -> Coalesce:
    one_line = days.order_by().values("client").annotate(sum_of_calls=Sum("calls")).values("sum_of_calls")
    # Nothing written of a day means that there was no call: the client is known by its total.
    return Coalesce(Subquery(one_line, output_field=BigIntegerField()), 0)
