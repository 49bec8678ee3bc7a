"""The recoverer: open intents whose opener is overdue are settled by asking the legacy.

What was applied is ended as it was decided. What was not applied, and can no longer be, is given again under
the same operation id: whoever asked was told that the outcome is being found out. What the legacy cannot tell
is left to a person, and never guessed.
"""

from dataclasses import replace
from typing import Any, Final

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError

from cutover import intents, rows
from cutover.intents import Due
from cutover.refusals import refusal_of
from ledger import crash_points
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.dialects import RaisedError
from legacy_bridge.records import Applied, NotApplied, StillUnknown

log = structlog.get_logger(__name__)

_FIRST_PAUSE_SECONDS: Final = 2.0
#: So long after the legacy is back, everything that waits for it is settled.
_LONGEST_PAUSE_SECONDS: Final = 20.0
#: An operation that fails so often for certain waits for a person.
_MOST_ATTEMPTS: Final = 6
_FAILURES_OF_ONE_CAUSE: Final = 3
_BY: Final = "recoverer"


def settle_due(*, limit: int = 100) -> int:
    """Settle open intents that are overdue, at most `limit`; how many have an outcome now.

    They are claimed one by one: a lease that was taken long before its turn would have ended by then. One
    that cannot be settled stops no other, but several in a row mean that the legacy is away. Raises
    DatabaseError when our own database does not answer.
    """
    settled = failures = 0
    for _ in range(limit):
        if failures >= _FAILURES_OF_ONE_CAUSE or not (found := intents.claim_due(limit=1)):
            break
        outcome = _try_to_settle(found[0])
        settled += outcome is True
        failures = failures + 1 if outcome is None else 0
    return settled


def _try_to_settle(due: Due) -> bool | None:
    """Whether it has an outcome now; None when something failed on the way."""
    try:
        return _settle(due)
    except intents.TakenOver:
        return False
    except (OperationalError, InterfaceError):
        raise
    except (errors.NotDone, errors.OutcomeUnknown) as error:
        _leave(due, str(error))
    except Exception as error:
        log.exception("intent_not_settled", operation_id=str(due.request.operation_id))
        _leave(due, f"{type(error).__name__}: {error}")
    return None


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
                intents.complete(
                    operation_id=request.operation_id,
                    decision=found.decision,
                    by=_BY,
                    attempt=due.attempts,
                )
                _say(due, "applied")
                return True
            case NotApplied():
                return _give_again(due, adapter, session)
            case StillUnknown():
                return _keep_unknown(due, found)


def _give_again(due: Due, adapter: LegacyAdapter, session: sessions.Session) -> bool:
    request = due.request
    operation_id = request.operation_id
    bookmark = giving.bookmark(adapter, session, account_number=request.account_number)
    attempt = intents.begin_again(
        operation_id=operation_id, session=session.identity, bookmark=bookmark, attempt=due.attempts
    )
    again = replace(due, attempts=attempt)
    crash_points.reach("legacy.given_again")
    try:
        decision = giving.give(adapter, session, request)
    except errors.Refused as refused:
        refusal = refusal_of(refused).to_json()
        intents.refuse(operation_id=operation_id, refusal=refusal, by=_BY, attempt=attempt)
    except errors.NotRepresentable as error:
        return _doubt(again, f"The adapter no longer takes it: {error}", {})
    except errors.NotDone as error:
        # Nothing was done. A legacy that is slow or away may do it later; one that fails at it will not.
        fails = isinstance(error, RaisedError) or isinstance(error.__cause__, errors.AnswerInvalid)
        if not fails or attempt < _MOST_ATTEMPTS:
            return _leave(again, str(error))
        return _doubt(again, f"The legacy fails at it every time, and does nothing: {error}", {})
    except errors.OutcomeUnknown as error:
        _leave(again, str(error))
        raise
    else:
        intents.complete(operation_id=operation_id, decision=decision, by=_BY, attempt=attempt)
    _say(again, "given again")
    return True


def _keep_unknown(due: Due, found: StillUnknown) -> bool:
    return _doubt(due, found.why, found.evidence) if found.is_final else _leave(due, found.why)


def _doubt(due: Due, why: str, evidence: Any) -> bool:
    intents.doubt(
        operation_id=due.request.operation_id, why=why, evidence=dict(evidence), attempt=due.attempts
    )
    log.error("operation_in_doubt", operation_id=str(due.request.operation_id), why=why)
    return False


def _leave(due: Due, why: str) -> bool:
    """Try again later: the longer it lasts, the later."""
    pause_seconds = min(max(_FIRST_PAUSE_SECONDS, due.age_seconds / 2), _LONGEST_PAUSE_SECONDS)
    try:
        intents.release(
            operation_id=due.request.operation_id,
            error=why,
            attempt=due.attempts,
            after_seconds=pause_seconds,
        )
    except DatabaseError:
        log.warning("intent_not_released", operation_id=str(due.request.operation_id))
    return False


def _say(due: Due, how: str) -> None:
    log.info(
        "intent_settled",
        operation_id=str(due.request.operation_id),
        how=how,
        attempts=due.attempts,
        age_seconds=round(due.age_seconds, 3),
    )
