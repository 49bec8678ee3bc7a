"""What a switch waits for on both of its sides: the newest rows of the legacy, and older intents."""

import time
from typing import Final

import structlog

from cutover.mirroring import tail
from cutover.routes import CurrentRoute
from cutover.switching import status as figures
from cutover.switching.errors import TailNotFollowed
from legacy_bridge import configured, sessions
from legacy_bridge.errors import LegacyError

log = structlog.get_logger(__name__)

_TAIL_AT_MOST_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1


def follow_tail() -> int:
    """Read the legacy's history to its end, so that whatever came past the API has a message, and with it
    holds its account; how many rows that were. Raises TailNotFollowed."""
    give_up_at = time.monotonic() + _TAIL_AT_MOST_SECONDS
    strangers, again = 0, True
    try:
        with sessions.session(timeout_seconds=_TAIL_AT_MOST_SECONDS) as session:
            while time.monotonic() < give_up_at:
                tailed = tail.follow(configured.adapter(), session, again=again)
                strangers += tailed.strangers
                if tailed.reached_end:
                    return strangers
                again = False
    except LegacyError as error:
        raise TailNotFollowed(f"The newest rows of the legacy could not be read: {error}") from error
    raise TailNotFollowed(
        f"The end of the legacy's history was not reached in {_TAIL_AT_MOST_SECONDS:.0f} s."
    )


def follow_tail_if_it_answers() -> int | None:
    """The same where nobody may be kept waiting: None when the legacy does not answer. A worker reads those
    rows as soon as it does."""
    try:
        return follow_tail()
    except TailNotFollowed as error:
        log.warning("tail_not_followed", error=str(error)[:500])
        return None


def wait_for_older_intents(route: CurrentRoute, *, at_most_seconds: float) -> int:
    """Wait until what was given to the legacy before the route was changed is settled; how many are not."""
    give_up_at = time.monotonic() + at_most_seconds
    while (left := figures.older_intents(route)) and time.monotonic() < give_up_at:
        time.sleep(_PAUSE_SECONDS)
    return left
