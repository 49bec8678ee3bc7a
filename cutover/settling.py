"""The recoverer: open intents whose opener is overdue are settled by asking the legacy.

What was applied is ended as it was decided. What was not applied, and can no longer be, is given again under
the same operation id: whoever asked was told that the outcome is being found out. What the legacy cannot tell
is left to a person, and never guessed.
"""

from typing import Any, Final

import structlog
from django.db import DatabaseError

from cutover import intents, rows
from cutover.intents import Due
from cutover.wrapped import refusal_of
from ledger import crash_points
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.records import Applied, NotApplied, StillUnknown

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 2.0
_LONGEST_PAUSE_SECONDS: Final = 60.0
_BY: Final = "recoverer"


def settle_due(*, limit: int = 100) -> int:
    """Settle open intents that are overdue, at most `limit`; how many have an outcome now.

    One that cannot be settled stops no other. Raises DatabaseError when our own database does not answer.
    """
    settled = 0
    for due in intents.claim_due(limit=limit):
        try:
            settled += _settle(due)
        except (errors.NotDone, errors.OutcomeUnknown) as error:
            _leave(due, str(error))
    return settled


def _settle(due: Due) -> bool:
    adapter = configured.adapter()
    request = due.request
    with sessions.session() as session:
        found = giving.settle(
            adapter,
            session,
            request,
            known_row_id=due.bookmark,
            old_session=due.session,
            of_others=rows.taken,
        )
        match found:
            case Applied():
                intents.complete(operation_id=request.operation_id, decision=found.decision, by=_BY)
                _say(due, "applied")
                return True
            case NotApplied():
                return _give_again(due, adapter, session)
            case StillUnknown():
                return _keep_unknown(due, found)


def _give_again(due: Due, adapter: LegacyAdapter, session: sessions.Session) -> bool:
    request = due.request
    bookmark = giving.bookmark(adapter, session, account_number=request.account_number)
    intents.begin_again(operation_id=request.operation_id, session=session.identity, bookmark=bookmark)
    crash_points.reach("legacy.given_again")
    try:
        decision = giving.give(adapter, session, request)
    except errors.Refused as refused:
        intents.refuse(operation_id=request.operation_id, refusal=refusal_of(refused).to_json(), by=_BY)
    except errors.NotRepresentable as error:
        _doubt(due, f"The adapter no longer takes it: {error}", {})
        return False
    else:
        intents.complete(operation_id=request.operation_id, decision=decision, by=_BY)
    _say(due, "given again")
    return True


def _keep_unknown(due: Due, found: StillUnknown) -> bool:
    if found.is_final:
        _doubt(due, found.why, found.evidence)
    else:
        _leave(due, found.why)
    return False


def _doubt(due: Due, why: str, evidence: Any) -> None:
    intents.doubt(operation_id=due.request.operation_id, why=why, evidence=dict(evidence))
    log.error("operation_in_doubt", operation_id=str(due.request.operation_id), why=why)


def _leave(due: Due, why: str) -> None:
    """Try again later: the longer it lasts, the later."""
    pause_seconds = min(max(_FIRST_PAUSE_SECONDS, due.age_seconds / 2), _LONGEST_PAUSE_SECONDS)
    try:
        intents.release(operation_id=due.request.operation_id, error=why, after_seconds=pause_seconds)
    except DatabaseError:
        log.warning("intent_not_released", operation_id=str(due.request.operation_id))


def _say(due: Due, how: str) -> None:
    log.info(
        "intent_settled",
        operation_id=str(due.request.operation_id),
        how=how,
        attempts=due.attempts,
        age_seconds=round(due.age_seconds, 3),
    )
