"""What a worker does when the doorbell rings: look for strangers, and tell each side what waits for it."""

import time
from collections.abc import Callable
from typing import Final

import structlog

from cutover import routes
from cutover.mirroring import messages, metrics, tail, to_ledger, to_legacy
from cutover.models import Direction, Stage
from legacy_bridge import configured, errors, sessions

log = structlog.get_logger(__name__)

_ACCOUNTS_AT_ONCE: Final = 100
#: The same processes do what was accepted, and refresh balances: they must come to their turn.
_BUDGET_SECONDS: Final = 2.0


def run(*, budget_seconds: float = _BUDGET_SECONDS) -> int:
    """Apply what waits, in both directions, until nothing is due or the time is up; messages applied.

    A legacy that does not answer ends the round: what was claimed waits for the next. Raises DatabaseError
    when our own database does not answer.
    """
    give_up_at = time.monotonic() + budget_seconds
    applied = 0
    for direction, tell in (
        (Direction.TO_LEDGER, _tell_ledger),
        (Direction.TO_LEGACY, to_legacy.tell),
    ):
        applied += _drain(direction, tell, give_up_at=give_up_at)
    return applied


def _tell_ledger(account_numbers: list[str]) -> int:
    try:
        told = to_ledger.tell_each(account_numbers)
    except (errors.NotDone, errors.OutcomeUnknown) as error:
        waiting = messages.of_accounts(account_numbers, direction=Direction.TO_LEDGER, limit=1)
        messages.retry([message.id for message in waiting], error=str(error))
        raise
    for lag in told.lags:
        metrics.applied(Direction.TO_LEDGER, lag_seconds=lag)
    return told.applied


def _drain(direction: Direction, tell: Callable[[list[str]], int], *, give_up_at: float) -> int:
    applied = 0
    while time.monotonic() < give_up_at:
        claimed = messages.claim(direction=direction, accounts=_ACCOUNTS_AT_ONCE)
        if not claimed:
            break
        try:
            applied += tell(claimed)
        except (errors.NotDone, errors.OutcomeUnknown) as error:
            log.warning("mirror_waits_for_legacy", direction=direction.value, error=str(error)[:500])
            break
    return applied


def look_for_strangers(*, again: bool) -> int:
    """Follow the legacy's tail wherever what it does is captured; rows that came past the API."""
    if not is_tail_followed():
        return 0
    with sessions.session() as session:
        return tail.follow(configured.adapter(), session, again=again).strangers


def is_tail_followed() -> bool:
    """Whether the legacy still decides somewhere and is captured, or follows."""
    return any(
        route.capture and not route.is_finished and route.stage is not Stage.NEW_ONLY
        for route in routes.everything().values()
    )
