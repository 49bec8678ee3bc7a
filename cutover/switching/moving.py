"""How a route is changed: notice, lock, look, change, journal; the last four in one transaction.

1. The notice is committed and waited for: from then on nobody reads by a route that was read before.
2. The cohort's lock is taken alone: whoever acts on the route has ended, and nobody begins. Whoever waits
   behind the switch waits at most as long as the switch does: it gives up after half of the lock timeout.
3. The route is read again: another epoch than the one that was seen means that somebody else was first.
4. The route is changed, under the rules of the database (`route_move_is_legal`).
5. The journal's entry is written, and all of it commits.

A process that dies before the commit has changed nothing; its notice ends by itself.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError, OperationalError, transaction

from cutover import routes
from cutover.models import Stage
from cutover.routes import CurrentRoute
from cutover.switching import journal
from cutover.switching.errors import (
    AlreadyFinished,
    FreezeEnded,
    IllegalMove,
    NotDrained,
    NoticeEnded,
    RouteChanged,
    UnknownCohort,
)
from cutover.switching.journal import Act
from ledger import crash_points
from ledger.database import commit_each, fetch_all, fetch_one, is_lock_timeout, violated_constraint

log = structlog.get_logger(__name__)

#: Longer than the wait for the lock and the change itself can take.
_NOTICE_LASTS_SECONDS: Final = 5.0

_GIVE_NOTICE: Final = """
UPDATE cutover_route SET notice_until = greatest(
    notice_until, clock_timestamp() + %s * interval '1 second'
)
WHERE cohort = ANY (%s) AND finished_at IS NULL
"""
_WAIT_AT_MOST: Final = "SELECT set_config('lock_timeout', %s, true)"
_READ: Final = f"""
SELECT {routes.COLUMNS} FROM cutover_route AS route WHERE cohort = %s FOR UPDATE
"""  # noqa: S608  (only the constant is put into the text)
_CHANGE: Final = f"""
UPDATE cutover_route AS route
SET stage = coalesce(%(stage)s::text, stage), capture = coalesce(%(capture)s::boolean, capture),
    freeze_until = CASE
        WHEN %(thaws)s::boolean THEN NULL
        WHEN %(freeze_seconds)s::float8 IS NOT NULL
            THEN clock_timestamp() + %(freeze_seconds)s::float8 * interval '1 second'
        ELSE freeze_until
    END,
    finished_at = CASE WHEN %(finishes)s::boolean THEN clock_timestamp() ELSE finished_at END,
    epoch = epoch + 1, notice_until = NULL, changed_at = clock_timestamp()
WHERE cohort = %(cohort)s
RETURNING {routes.COLUMNS}
"""  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to become of a route; what is left out stays as it is."""

    stage: Stage | None = None
    capture: bool | None = None
    freeze_seconds: float | None = None
    thaws: bool = False
    finishes: bool = False

    def parameters(self, cohort: str) -> dict[str, Any]:
        return {
            "cohort": cohort,
            "stage": None if self.stage is None else self.stage.value,
            "capture": self.capture,
            "freeze_seconds": self.freeze_seconds,
            "thaws": self.thaws,
            "finishes": self.finishes,
        }


def route_of(cohort: str) -> CurrentRoute:
    """The route as it stands. Raises UnknownCohort."""
    try:
        return routes.current(cohort)
    except KeyError:
        raise UnknownCohort(f"There is no cohort {cohort!r}.") from None


def begin(act: Act, *, expected_epoch: int | None) -> CurrentRoute:
    """The route that an act begins with. Raises UnknownCohort, AlreadyFinished, RouteChanged."""
    route = route_of(act.cohort)
    act.from_stage = act.to_stage = route.stage.value
    act.epoch = route.epoch
    if expected_epoch is not None and expected_epoch != route.epoch:
        raise RouteChanged(journal.winner_of(cohort=act.cohort, since_epoch=expected_epoch))
    if route.is_finished:
        raise AlreadyFinished("The cutover is finished: there is no way back.")
    return route


def give_notice(cohorts: Sequence[str]) -> None:
    """Have everybody read these routes anew each time, from the end of this call on."""
    commit_each([(_GIVE_NOTICE, [_NOTICE_LASTS_SECONDS, list(cohorts)])])
    crash_points.reach("switch.notice_given")
    time.sleep(routes.NOTICE_SECONDS)


def change(
    act: Act,
    change: Change,
    *,
    seen: CurrentRoute,
    within: Callable[[], None] | None = None,
) -> CurrentRoute:
    """Change the route that was `seen`; the route after it. `within` is run in the same transaction.

    Raises RouteChanged, NotDrained, NoticeEnded, FreezeEnded, IllegalMove; then nothing was changed.
    """
    act.to_stage = (change.stage or seen.stage).value
    give_notice([act.cohort])
    try:
        with transaction.atomic(durable=True):
            after = _change_alone(act, change, seen, within)
    except OperationalError as error:
        if is_lock_timeout(error):
            raise NotDrained("Operations under way did not end in time. Try again.") from error
        raise
    except DatabaseError as error:
        name = violated_constraint(error)
        if name is not None and name.startswith("route_"):
            raise IllegalMove(f"The database refuses this move ({name}).") from error
        raise
    finally:
        routes.forget_hints()
    crash_points.reach("switch.committed")
    log.warning(
        "route_changed",
        cohort=act.cohort,
        action=act.action,
        from_stage=act.from_stage,
        to_stage=act.to_stage,
        epoch=after.epoch,
        by=act.actor,
        reason=act.reason,
        **{name: act.details[name] for name in ("waited_ms", "held_ms") if name in act.details},
    )
    return after


def _change_alone(
    act: Act, change: Change, seen: CurrentRoute, within: Callable[[], None] | None
) -> CurrentRoute:
    began_at = time.monotonic()
    lock([act.cohort])
    locked_at = time.monotonic()
    crash_points.reach("switch.locked")
    row = fetch_one(_READ, [act.cohort])
    if row is None:
        raise UnknownCohort(f"There is no cohort {act.cohort!r}.")
    now = routes.of_row(row)
    if now.epoch != seen.epoch:
        raise RouteChanged(journal.winner_of(cohort=act.cohort, since_epoch=seen.epoch))
    if not now.is_in_notice:
        raise NoticeEnded("The switch was held up for too long. Try again.")
    if seen.is_frozen and not now.is_frozen:
        raise FreezeEnded("The freeze ended before the switch took place.")
    (changed,) = fetch_all(_CHANGE, change.parameters(act.cohort))
    after = routes.of_row(changed)
    crash_points.reach("switch.moved")
    if within is not None:
        within()
    act.epoch = after.epoch
    act.details.update(
        waited_ms=round((locked_at - began_at) * 1000, 1),
        held_ms=round((time.monotonic() - locked_at) * 1000, 1),
    )
    journal.write(act, result=journal.DONE)
    crash_points.reach("switch.journaled")
    return after


def lock(cohorts: Sequence[str]) -> None:
    """Take the locks of these cohorts alone, in order, within the transaction that is open."""
    milliseconds = max(1, round(settings.POINTS_LOCK_TIMEOUT_SECONDS * 1000 / 2))
    fetch_all(_WAIT_AT_MOST, [f"{milliseconds}ms"])
    for cohort in sorted(set(cohorts)):
        routes.lock_alone(cohort)
