"""How a cohort stands: what `cutover status` prints, and the figures that checks and pages are made of."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cutover.mirroring import status as mirroring
from cutover.models import Stage
from cutover.routes import CurrentRoute
from cutover.switching.moving import route_of
from ledger.database import fetch_all, fetch_one

_INTENTS: Final = """
SELECT count(*) FILTER (WHERE intent.state = 'open'), count(*) FILTER (WHERE intent.state = 'in_doubt'),
    count(*) FILTER (WHERE intent.opened_at < %(before)s::timestamptz)
FROM cutover_intent AS intent
LEFT JOIN cutover_member AS member ON member.account_number = intent.account_number
WHERE intent.state IN ('open', 'in_doubt') AND coalesce(member.cohort, 'default') = %(cohort)s
"""
# What the ledger decided, and the legacy does not know unless somebody sees to it.
_LOSS: Final = """
SELECT count(*)
FROM cutover_message AS message
LEFT JOIN cutover_member AS member ON member.account_number = message.account_number
WHERE message.direction = 'to_legacy' AND message.state IN ('parked', 'skipped')
    AND coalesce(member.cohort, 'default') = %(cohort)s
"""
_CHANGED_AT: Final = "SELECT changed_at FROM cutover_route WHERE cohort = %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Messages that are to be delivered, parked ones among them; what is only recorded is none of them.
    `oldest_seconds` is None where there are none."""

    count: int
    oldest_seconds: float | None
    parked: int
    #: Accounts that wait at a switch.
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    route: CurrentRoute
    backlog: Backlog
    open_intents: int
    in_doubt: int
    #: Operations that a way back would lose; None where there is no way back.
    rollback_loss: int | None


def status(*, cohort: str) -> Status:
    """Raises UnknownCohort and DatabaseError."""
    route = route_of(cohort)
    open_intents, in_doubt, _ = _intents(cohort, before=None)
    return Status(
        route=route,
        backlog=backlog(route),
        open_intents=open_intents,
        in_doubt=in_doubt,
        rollback_loss=rollback_loss(route),
    )


def as_json(found: Status) -> dict[str, Any]:
    """Null stands for what is not known, or is not there."""
    route = found.route
    oldest = found.backlog.oldest_seconds
    return {
        "cohort": route.cohort,
        "stage": route.stage.value,
        "epoch": route.epoch,
        "capture": route.capture,
        "freeze_until": route.freeze_until.isoformat() if route.freeze_until and route.is_frozen else None,
        "backlog": {
            "count": found.backlog.count,
            "oldest_seconds": None if oldest is None else round(oldest, 3),
            "parked": found.backlog.parked,
            "held": found.backlog.held,
        },
        "open_intents": found.open_intents,
        "in_doubt": found.in_doubt,
        "rollback_loss": found.rollback_loss,
    }


def backlog(route: CurrentRoute) -> Backlog:
    """What is still to be told, as mirroring counts it. After the end nothing is owed to anybody."""
    found = mirroring.backlogs(cohort=route.cohort).values()
    ages = [each.oldest_seconds for each in found if each.oldest_seconds is not None]
    return Backlog(
        count=sum(each.count for each in found),
        oldest_seconds=max(ages, default=None),
        parked=0 if route.is_finished else sum(each.parked for each in found),
        held=held(route),
    )


def held(route: CurrentRoute) -> int:
    """Accounts that wait until what their last decider owes is settled."""
    return mirroring.held_accounts(cohort=route.cohort)


def rollback_loss(route: CurrentRoute) -> int | None:
    """Operations of the ledger that the legacy was not and will not be told of by itself: a way back would
    lose them. None where there is no way back."""
    if route.is_finished or route.stage is Stage.LEGACY_ONLY:
        return None if route.is_finished else 0
    ((lost,),) = fetch_all(_LOSS, {"cohort": route.cohort})
    return lost


def in_doubt(route: CurrentRoute) -> int:
    return _intents(route.cohort, before=None)[1]


def older_intents(route: CurrentRoute) -> int:
    """Operations given to the legacy before the route was last changed, and not settled yet."""
    row = fetch_one(_CHANGED_AT, [route.cohort])
    return 0 if row is None else _intents(route.cohort, before=row[0])[2]


def _intents(cohort: str, *, before: datetime | None) -> tuple[int, int, int]:
    ((open_intents, doubts, older),) = fetch_all(_INTENTS, {"cohort": cohort, "before": before})
    return open_intents, doubts, older
