"""Who decides, and the fence around every change of it.

Everybody who acts on a route holds the cohort's advisory lock, shared, to the end of the transaction that
commits under it; a change of the route takes it alone. The lock is taken in one statement and the route read
in the next: under READ COMMITTED one statement would read what was before it waited. While the ledger decides
the database does this by itself (`operation_is_decided_under_route`).

Without the lock a route is a hint. It says where to go, and whoever goes wrong is sent back.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from cutover.models import DEFAULT_COHORT, Direction, Stage
from ledger.database import Parameters, fetch_all, fetch_one

#: A balance may be read of the side that decided so long ago, and no longer.
HINT_SECONDS: Final = 0.2
#: Longer than any process keeps a hint: so long before a switch, nobody reads by one.
NOTICE_SECONDS: Final = 0.25

#: The first half of the lock's key; the second is the cohort's.
LOCK_CLASS: Final = 0x70747363

_LOCK_SHARED: Final = "SELECT pg_advisory_xact_lock_shared(%s, hashtext(%s))"
_LOCK_ALONE: Final = "SELECT pg_advisory_xact_lock(%s, hashtext(%s))"

#: An install that a legacy was given to starts with the legacy, unless its ledger has decided before.
_FIRST_ROUTE: Final = """
INSERT INTO cutover_route (cohort, stage, epoch, capture, changed_at)
SELECT %s, CASE WHEN has_decided THEN 'NEW_ONLY' ELSE 'LEGACY_ONLY' END, 1, has_decided, clock_timestamp()
FROM (SELECT EXISTS (SELECT 1 FROM ledger_entry) AS has_decided) AS ledger
ON CONFLICT (cohort) DO NOTHING
"""

#: The columns of a route as `of_row` takes them.
COLUMNS: Final = """
route.cohort, route.stage, route.epoch, route.capture, route.freeze_until,
coalesce(route.freeze_until > clock_timestamp(), false),
coalesce(route.notice_until > clock_timestamp(), false), route.finished_at IS NOT NULL
"""
_ALL: Final = f"SELECT {COLUMNS} FROM cutover_route AS route"  # noqa: S608
_OF_ACCOUNT: Final = f"""
SELECT {COLUMNS} FROM cutover_route AS route WHERE route.cohort = coalesce(
    (SELECT member.cohort FROM cutover_member AS member WHERE member.account_number = %s), 'default'
)
"""  # noqa: S608
# The first of each by its own index, in its order: asked for any at all, the planner would read whole tables
# wherever it last saw many of them.
_HAS_OWING: Final = """
SELECT coalesce(
    (
        SELECT true FROM cutover_message WHERE direction = %s AND state = 'waiting'
        ORDER BY direction, due_at LIMIT 1
    ),
    (SELECT true FROM cutover_message WHERE direction = %s AND state = 'parked' ORDER BY id LIMIT 1),
    %s = 'to_ledger' AND EXISTS (
        SELECT FROM (
            SELECT FROM cutover_intent WHERE state IN ('open', 'in_doubt') ORDER BY leased_until LIMIT 1
        ) AS unsettled
    )
)
"""
_IS_HELD: Final = "SELECT cutover_is_held(%s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRoute:
    cohort: str
    stage: Stage
    epoch: int
    capture: bool = False
    freeze_until: datetime | None = None
    #: By the database's clock, when the route was read.
    is_frozen: bool = False
    is_in_notice: bool = False
    is_finished: bool = False

    @property
    def legacy_decides(self) -> bool:
        return self.stage in (Stage.LEGACY_ONLY, Stage.LEGACY_FIRST)

    @property
    def old_direction(self) -> Direction:
        """The way of the messages that an earlier decider still owes."""
        return Direction.TO_LEGACY if self.legacy_decides else Direction.TO_LEDGER

    @property
    def follows(self) -> Direction | None:
        """The way of the messages that are delivered as they come, or None while nobody follows."""
        return {Stage.LEGACY_FIRST: Direction.TO_LEDGER, Stage.NEW_FIRST: Direction.TO_LEGACY}.get(self.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hints:
    read_at: float
    routes: dict[str, CurrentRoute]
    #: Whether any account may be held, for somebody owes something in an old direction.
    may_hold: bool


_hints: _Hints | None = None


def of_row(row: tuple[Any, ...]) -> CurrentRoute:
    """The route of a row of `COLUMNS`."""
    return CurrentRoute(
        cohort=row[0],
        stage=Stage(row[1]),
        epoch=row[2],
        capture=row[3],
        freeze_until=row[4],
        is_frozen=row[5],
        is_in_notice=row[6],
        is_finished=row[7],
    )


def shared_lock(cohort: str) -> tuple[str, Parameters]:
    """The statement that keeps the route as it is until the end of the transaction."""
    return _LOCK_SHARED, [LOCK_CLASS, cohort]


def lock_alone(cohort: str) -> None:
    """Wait until nobody acts on the route, and keep everybody from it until the end of the transaction."""
    fetch_all(_LOCK_ALONE, [LOCK_CLASS, cohort])


def everything() -> dict[str, CurrentRoute]:
    """All routes by cohort; the default one is made where there is none yet."""
    found = {row[0]: of_row(row) for row in fetch_all(_ALL)}
    if DEFAULT_COHORT not in found:
        _make(DEFAULT_COHORT)
        return everything()
    return found


def current(cohort: str = DEFAULT_COHORT) -> CurrentRoute:
    """The route of a cohort as it stands. Raises KeyError for a cohort that is not."""
    return everything()[cohort]


def of_account(account_number: str) -> CurrentRoute:
    """The route of an account as it stands."""
    row = fetch_one(_OF_ACCOUNT, [account_number])
    return current() if row is None else of_row(row)


def hint(account_number: str | None = None) -> CurrentRoute:
    """The route of an account, or of the default cohort, as it stood a moment ago (`HINT_SECONDS`)."""
    hints = _fresh()
    if account_number is not None and len(hints.routes) > 1:
        return of_account(account_number)
    return hints.routes[DEFAULT_COHORT]


def is_uniform() -> bool:
    """Whether all accounts are of one cohort, as of a moment ago."""
    return len(_fresh().routes) == 1


def is_held(account_number: str, route: CurrentRoute) -> bool:
    """Whether an account waits until what its last decider owes is settled: its old decider answers reads."""
    if not _fresh().may_hold or route.is_finished:
        return False
    row = fetch_one(_IS_HELD, [account_number, route.old_direction.value])
    return bool(row and row[0])


def forget_hints() -> None:
    """Read anew at the next use (after a change in this process, and in tests)."""
    global _hints
    _hints = None


def _fresh() -> _Hints:
    global _hints
    kept = _hints
    if kept is not None and time.monotonic() - kept.read_at < HINT_SECONDS:
        return kept
    read_at = time.monotonic()
    routes = everything()
    hints = _Hints(read_at=read_at, routes=routes, may_hold=_may_hold(routes))
    # While a switch is near, everybody reads anew each time.
    _hints = None if any(route.is_in_notice for route in routes.values()) else hints
    return hints


def _may_hold(routes: dict[str, CurrentRoute]) -> bool:
    if all(route.is_finished for route in routes.values()):
        return False
    directions = {route.old_direction for route in routes.values() if not route.is_finished}
    if len(directions) > 1:
        return True
    (direction,) = (each.value for each in directions)
    row = fetch_one(_HAS_OWING, [direction] * 3)
    return bool(row and row[0])


def _make(cohort: str) -> None:
    with transaction.atomic():
        lock_alone(cohort)
        fetch_all(_FIRST_ROUTE, [cohort])
