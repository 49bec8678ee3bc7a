"""Operations in doubt: what became of them only a person can tell, who looks into the legacy and decides."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import IntegrityError

from cutover import intents
from ledger import clock
from ledger.database import commit_each, fetch_all, from_jsonb, violated_constraint
from ledger.operations import elsewhere
from legacy_bridge import configured, errors, sessions
from legacy_bridge.records import HistoryRow, Request

log = structlog.get_logger(__name__)

_LIST: Final = """
SELECT operation_id, account_number, request, opened_at, attempts, last_error, evidence
FROM cutover_intent
WHERE state = 'in_doubt'
ORDER BY opened_at
"""
_FIND: Final = "SELECT request FROM cutover_intent WHERE operation_id = %s AND state = 'in_doubt'"
# Only what is open may go: so it is opened first, in the same transaction.
_REOPEN: Final = (
    "UPDATE cutover_intent SET state = 'open' WHERE operation_id = %s AND state = 'in_doubt'",
    "UPDATE ledger_operation SET state = 'pending' WHERE id = %s AND state = 'in_doubt'",
    "DELETE FROM cutover_intent WHERE operation_id = %s AND state = 'open'",
)


class DecisionRefused(Exception):
    """A decision that cannot be taken so; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """One operation in doubt, with what is known of it."""

    operation_id: UUID
    account_number: str
    kind: str
    points: int
    reference: str | None
    since: datetime
    attempts: int
    why: str
    evidence: dict[str, Any]


def waiting() -> list[Doubt]:
    """All operations in doubt, the oldest first."""
    doubts = []
    for operation_id, account, request, since, attempts, why, evidence in fetch_all(_LIST):
        asked = intents.read_stored(request)
        doubts.append(
            Doubt(
                operation_id=operation_id,
                account_number=account,
                kind=type(asked).__name__.removesuffix("Request").lower(),
                points=asked.points,
                reference=asked.reference,
                since=since,
                attempts=attempts,
                why=why,
                evidence=from_jsonb(evidence) or {},
            )
        )
    return doubts


def decide_applied(*, operation_id: UUID, row_id: str, actor: str, reason: str) -> None:
    """The legacy did it, as its row `row_id`: the operation is completed. Raises DecisionRefused."""
    request = _found(operation_id)
    if elsewhere.by_counterpart([row_id]):
        raise DecisionRefused(f"Row {row_id} is another operation already.")
    row = _row(row_id)
    if row.account_number != request.account_number or abs(row.points) != request.points:
        raise DecisionRefused(
            f"Row {row_id} moved {abs(row.points)} points of {row.account_number}; the operation is of "
            f"{request.points} points of {request.account_number}."
        )
    try:
        intents.complete(operation_id=operation_id, decision=row.decision, by=actor, attempt=None)
    except intents.TakenOver as error:
        raise DecisionRefused(f"Operation {operation_id} is not in doubt any more.") from error
    _say("applied", operation_id, actor=actor, reason=reason, row_id=row_id)


def decide_not_applied(*, operation_id: UUID, actor: str, reason: str) -> None:
    """The legacy did not do it, and never will: the operation goes, and its key is free. Raises
    DecisionRefused."""
    _found(operation_id)
    try:
        commit_each(
            [*((text, [operation_id]) for text in _REOPEN), elsewhere.forget(operation_id=operation_id)]
        )
    except IntegrityError as error:
        if violated_constraint(error) != "intent_one_open_per_account":
            raise
        raise DecisionRefused("Another operation of the account is under way. Try again.") from error
    _say("not applied", operation_id, actor=actor, reason=reason, row_id=None)


def _found(operation_id: UUID) -> Request:
    rows = fetch_all(_FIND, [operation_id])
    if not rows:
        raise DecisionRefused(f"Operation {operation_id} is not in doubt.")
    return intents.read_stored(rows[0][0])


def _row(row_id: str) -> HistoryRow:
    try:
        with sessions.session() as session:
            rows = configured.adapter().rows_by_id(session, [row_id])
    except errors.LegacyError as error:
        raise DecisionRefused(f"The legacy cannot show the row: {error}") from error
    if len(rows) != 1:
        raise DecisionRefused(f"The legacy has no row {row_id}.")
    return rows[0]


def _say(decided: str, operation_id: UUID, *, actor: str, reason: str, row_id: str | None) -> None:
    log.warning(
        "doubt_decided",
        operation_id=str(operation_id),
        decided=decided,
        by=actor,
        reason=reason,
        row_id=row_id,
        at=clock.now().isoformat(),
    )
