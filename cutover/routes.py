"""Who decides, and the fence around every change of it.

Everybody who acts on a route holds the cohort's advisory lock, shared, to the end of the transaction that
commits under it; a change of the route takes it alone. The lock is taken in one statement and the route read
in the next: under READ COMMITTED one statement would read what was before it waited.
"""

import time
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from cutover.models import DEFAULT_COHORT, Stage
from ledger.database import Parameters, fetch_all, fetch_one

#: A balance may be read of the side that decided so long ago, and no longer.
HINT_SECONDS: Final = 0.2

#: The first half of the lock's key; the second is the cohort's.
LOCK_CLASS: Final = 0x70747363

_hints: dict[str, tuple[float, "CurrentRoute"]] = {}

_LOCK_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))"
_LOCK_ALONE: Final = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"

#: An install that a legacy was given to starts with the legacy, unless its ledger has decided before.
_FIRST_ROUTE: Final = """
INSERT INTO cutover_route (cohort, stage, epoch, changed_at)
SELECT %s, CASE WHEN EXISTS (SELECT 1 FROM ledger_entry) THEN 'NEW_ONLY' ELSE 'LEGACY_ONLY' END, 1,
    clock_timestamp()
ON CONFLICT (cohort) DO NOTHING
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRoute:
    cohort: str
    stage: Stage
    epoch: int

    @property
    def legacy_decides(self) -> bool:
        return self.stage in (Stage.LEGACY_ONLY, Stage.LEGACY_FIRST)


def shared_lock(cohort: str) -> tuple[str, Parameters]:
    """The statement that keeps the route as it is until the end of the transaction."""
    return _LOCK_SHARED, [LOCK_CLASS, cohort]


def current(cohort: str = DEFAULT_COHORT) -> CurrentRoute:
    """The route as it stands, made where there is none yet. Without a lock it is a hint."""
    row = fetch_one("SELECT stage, epoch FROM cutover_route WHERE cohort = %s", [cohort])
    if row is not None:
        return CurrentRoute(cohort=cohort, stage=Stage(row[0]), epoch=row[1])
    _make(cohort)
    return current(cohort)


def hint(cohort: str = DEFAULT_COHORT) -> CurrentRoute:
    """The route as it stood a moment ago (`HINT_SECONDS`), for reading."""
    kept = _hints.get(cohort)
    if kept is not None and time.monotonic() - kept[0] < HINT_SECONDS:
        return kept[1]
    route = current(cohort)
    _hints[cohort] = (time.monotonic(), route)
    return route


def forget_hints() -> None:
    """Read anew at the next use (after a change in this process, and in tests)."""
    _hints.clear()


def _make(cohort: str) -> None:
    with transaction.atomic():
        fetch_all(_LOCK_ALONE, [LOCK_CLASS, cohort])
        fetch_all(_FIRST_ROUTE, [cohort])
