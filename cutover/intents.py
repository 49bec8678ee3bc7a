"""Intents: an operation is noted, given to the legacy, and ended; three commits, and no lock over the call.

The note commits before the call, so whatever dies in between, the operation is known and can be settled
(`cutover.settling`). At most one intent of an account is open (`intent_one_open_per_account`): whoever comes
second waits for it up to the lock timeout. Whoever ends an operation names the attempt that it made: one that
was stopped for longer than its lease finds that a recoverer has taken over, and changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import IntegrityError

from cutover import lots, routes
from cutover.routes import CurrentRoute
from ledger.database import (
    commit_as_one,
    commit_each,
    fetch_all,
    fetch_in_savepoint,
    from_jsonb,
    violated_constraint,
)
from ledger.operations import elsewhere
from ledger.operations.elsewhere import Statement, Undecided
from legacy_bridge.records import (
    BY_LEGACY,
    CancelRequest,
    Decision,
    EarnRequest,
    Request,
    Share,
    SpendRequest,
)

#: How long after the legacy's own timeout an intent is left to whoever opened it.
_LEASE_GRACE_SECONDS: Final = 3.0

_OPEN: Final = """
INSERT INTO cutover_intent (
    operation_id, account_number, sequence, stage, epoch, state, request, bookmark, session, attempts,
    opened_at, leased_until
) VALUES (
    %(operation_id)s, %(account_number)s::text,
    1 + coalesce((
        SELECT max(sequence) FROM cutover_intent WHERE account_number = %(account_number)s::text
    ), 0),
    %(stage)s, %(epoch)s, 'open', %(request)s::jsonb, %(bookmark)s, %(session)s, 1,
    clock_timestamp(), clock_timestamp() + %(lease)s * interval '1 second'
)
"""
_ASSERT_EPOCH: Final = "SELECT cutover_assert_epoch(%s, %s)"
_ASSERT_ATTEMPT: Final = "SELECT cutover_assert_attempt(%s, %s)"
_ASSERT_CANCELLED: Final = "SELECT cutover_assert_cancelled(%s, %s)"
# The intent first, and the operation only if that was settled here: `ended` ends in its WHERE clause.
_SETTLE: Final = """
WITH settled AS (
    UPDATE cutover_intent
    SET state = %(state)s, settled_at = clock_timestamp(), settled_by = %(by)s, last_error = ''
    WHERE operation_id = %(operation_id)s AND state IN ('open', 'in_doubt')
        AND attempts = coalesce(%(attempt)s::integer, attempts)
    RETURNING id
), ended AS (
    {ended} AND EXISTS (SELECT 1 FROM settled)
)
SELECT count(*), set_config(
    'synchronous_commit', CASE %(durability)s::text WHEN 'off' THEN 'off'
    ELSE current_setting('synchronous_commit') END, true
)
FROM settled
"""
_FORGET: Final = "DELETE FROM cutover_intent WHERE operation_id = %s AND state = 'open'"
_RELEASE: Final = """
UPDATE cutover_intent
SET leased_until = clock_timestamp() + %(seconds)s * interval '1 second', last_error = %(error)s
WHERE operation_id = %(operation_id)s AND state = 'open' AND attempts = %(attempt)s
"""
_DOUBT: Final = """
UPDATE cutover_intent SET state = 'in_doubt', last_error = %(why)s, evidence = %(evidence)s::jsonb
WHERE operation_id = %(operation_id)s AND state = 'open'
"""
_AGAIN: Final = """
UPDATE cutover_intent
SET attempts = attempts + 1, session = %(session)s, bookmark = %(bookmark)s,
    leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE operation_id = %(operation_id)s AND state = 'open'
"""
_CLAIM: Final = """
UPDATE cutover_intent AS intent
SET leased_until = clock_timestamp() + %(lease)s * interval '1 second'
FROM (
    SELECT id FROM cutover_intent
    WHERE state = 'open' AND leased_until < clock_timestamp()
    ORDER BY leased_until
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
) AS due
WHERE intent.id = due.id
RETURNING intent.request, intent.bookmark, intent.session, intent.attempts,
    extract(epoch FROM clock_timestamp() - intent.opened_at)::float8
"""


# Also what is being told to the legacy: its row may be there before we know that it is ours.
_UNSETTLED: Final = """
SELECT account_number FROM cutover_intent
WHERE account_number = ANY (%(accounts)s) AND state IN ('open', 'in_doubt')
UNION
SELECT account_number FROM cutover_message
WHERE account_number = ANY (%(accounts)s) AND state IN ('waiting', 'parked')
    AND direction = 'to_legacy' AND session <> ''
"""

#: The attempt of whoever opens an intent.
FIRST_ATTEMPT: Final = 1


class TakenOver(Exception):
    """The attempt is not the last one any more: another has ended the operation, or will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """An open intent whose opener is overdue, claimed by this recoverer."""

    request: Request
    bookmark: str | None
    session: str
    attempts: int
    age_seconds: float


def open_intent(
    undecided: Undecided,
    request: Request,
    *,
    route: CurrentRoute,
    session: str,
    bookmark: str | None,
    is_accepted: bool,
) -> None:
    """Commit the note of an operation, under the route that it was read with.

    Raises IntegrityError by `operation_key_is_unique_per_client`, `intent_one_open_per_account` or
    `intent_sequence_is_unique_per_account` when another was first, and by `route_is_as_read` or
    `cancelled_is_as_read` when what was read is no longer so; then nothing was noted.
    """
    statements: list[Statement] = [
        routes.shared_lock(route.cohort),
        (_ASSERT_EPOCH, [route.cohort, route.epoch]),
        elsewhere.note(undecided, is_accepted=is_accepted),
        (
            _OPEN,
            {
                "operation_id": request.operation_id,
                "account_number": request.account_number,
                "stage": route.stage.value,
                "epoch": route.epoch,
                "request": stored(request),
                "bookmark": bookmark,
                "session": session,
                "lease": lease_seconds(),
            },
        ),
    ]
    if isinstance(request, CancelRequest):
        # The open intent keeps others off the account: what was cancelled before stands now. This is asked
        # after the intent is there, and so not in one statement with it.
        statements.append((_ASSERT_CANCELLED, [undecided.cancels_id, request.already_cancelled_points]))
        commit_each(statements)
    else:
        commit_as_one(statements)


def complete(
    *,
    operation_id: UUID,
    decision: Decision,
    by: str,
    attempt: int | None,
    is_durable: bool = True,
    lot_ids: Mapping[str, UUID] | None = None,
) -> None:
    """End an operation as the legacy decided it. `attempt` is None for a person; `lot_ids` where they were
    looked up before. Raises TakenOver.

    Without `is_durable` the commit does not wait for the disk: should the server crash within the next
    moment, the intent is open again, and the legacy is asked for the same outcome.
    """
    ended = elsewhere.complete(
        operation_id=operation_id,
        recorded_at=decision.recorded_at,
        balance_after=decision.balance_after,
        counterpart_id=decision.row_id,
        shares=stored_shares(decision.shares, lot_ids),
    )
    _settle(ended, operation_id=operation_id, state="done", by=by, attempt=attempt, is_durable=is_durable)


def refuse(*, operation_id: UUID, refusal: dict[str, Any], by: str, attempt: int | None) -> None:
    """End an operation as refused; the key keeps the refusal. Raises TakenOver."""
    ended = elsewhere.fail(operation_id=operation_id, refusal=refusal)
    # Always durable: a refusal that was told must not turn into a spend when the legacy is asked again.
    _settle(ended, operation_id=operation_id, state="refused", by=by, attempt=attempt, is_durable=True)


def _settle(
    ended: Statement, *, operation_id: UUID, state: str, by: str, attempt: int | None, is_durable: bool
) -> None:
    """End an intent and its operation in one statement, if `attempt` is still the last. Raises TakenOver."""
    text, parameters = ended
    own = {
        "operation_id": operation_id,
        "state": state,
        "by": by,
        "attempt": attempt,
        "durability": "on" if is_durable else "off",
    }
    try:
        ((settled, _),) = fetch_in_savepoint(_SETTLE.format(ended=text), {**dict(parameters), **own})
    except IntegrityError as error:
        if violated_constraint(error) == "operation_outcome_is_final":
            raise TakenOver from error
        raise
    if not settled:
        raise TakenOver


def _end(operation_id: UUID, statements: list[Statement], attempt: int | None) -> None:
    """Commit `statements` if `attempt` is still the last one. Raises TakenOver."""
    if attempt is not None:
        statements = [(_ASSERT_ATTEMPT, [operation_id, attempt]), *statements]
    try:
        commit_each(statements)
    except IntegrityError as error:
        if violated_constraint(error) in ("attempt_is_the_last", "operation_outcome_is_final"):
            raise TakenOver from error
        raise


def note_refused(undecided: Undecided, *, refusal: dict[str, Any], is_accepted: bool) -> None:
    """Note an operation and end it as refused, where the legacy need not be asked. Raises TakenOver, and
    IntegrityError by `operation_key_is_unique_per_client`."""
    operation_id = undecided.command.operation_id
    if is_accepted:
        end_accepted(operation_id=operation_id, refusal=refusal, undecided=undecided)
        return
    commit_each(
        [
            elsewhere.note(undecided, is_accepted=False),
            elsewhere.fail(operation_id=operation_id, refusal=refusal),
        ]
    )


def end_accepted(*, operation_id: UUID, refusal: dict[str, Any], undecided: Undecided | None = None) -> None:
    """End an operation that was accepted and that no side will do. Raises TakenOver: another drainer of the
    inbox has it under way, or has ended it."""
    statement = elsewhere.fail_accepted(operation_id=operation_id, refusal=refusal, undecided=undecided)
    (rows,) = commit_each([statement])
    if not rows:
        raise TakenOver


def forget(*, operation_id: UUID, attempt: int) -> None:
    """Let an operation go that the legacy did not do, for certain. Raises TakenOver."""
    _end(operation_id, [(_FORGET, [operation_id]), elsewhere.forget(operation_id=operation_id)], attempt)


def release(*, operation_id: UUID, error: str, attempt: int, after_seconds: float = 0.0) -> None:
    """Leave an open intent to the recoverer, `after_seconds` from now, unless it was taken over."""
    parameters = {
        "operation_id": operation_id,
        "error": error[:2000],
        "seconds": after_seconds,
        "attempt": attempt,
    }
    commit_each([(_RELEASE, parameters)])


def doubt(*, operation_id: UUID, why: str, evidence: Any, attempt: int) -> None:
    """Leave an operation to a person. Raises TakenOver."""
    parameters = {"operation_id": operation_id, "why": why[:2000], "evidence": _json(evidence)}
    _end(operation_id, [(_DOUBT, parameters), elsewhere.doubt(operation_id=operation_id)], attempt)


def begin_again(*, operation_id: UUID, session: str, bookmark: str | None, attempt: int) -> int:
    """Note another attempt after `attempt`, before it is made; its number. Raises TakenOver: of two that
    find the same operation not done, one gives it again."""
    parameters = {
        "operation_id": operation_id,
        "session": session,
        "bookmark": bookmark,
        "lease": lease_seconds(),
    }
    _end(operation_id, [(_AGAIN, parameters)], attempt)
    return attempt + 1


def claim_due(*, limit: int) -> list[Due]:
    """Open intents whose lease has ended, leased anew: two recoverers never have the same."""
    (rows,) = commit_each([(_CLAIM, {"limit": limit, "lease": lease_seconds()})])
    return [
        Due(request=read_stored(row[0]), bookmark=row[1], session=row[2], attempts=row[3], age_seconds=row[4])
        for row in rows
    ]


def unsettled_accounts(account_numbers: Iterable[str]) -> set[str]:
    """Those of these accounts with an operation whose outcome in the legacy is not known (yet)."""
    return {number for (number,) in fetch_all(_UNSETTLED, {"accounts": sorted(set(account_numbers))})}


def lease_seconds() -> float:
    """Longer than any call may take."""
    return float(settings.POINTS_LEGACY_TIMEOUT_SECONDS) + _LEASE_GRACE_SECONDS


# --- how requests and decisions are kept --------------------------------------------------------------------
def stored_shares(
    shares: Sequence[Share] | None, lot_ids: Mapping[str, UUID] | None = None
) -> list[Any] | None:
    """What the legacy says of lots, by the ids that the API gives them."""
    if shares is None:
        return None
    ids = lots.ids_of([share.lot_id for share in shares]) if lot_ids is None else lot_ids
    return [
        [
            str(ids[share.lot_id]),
            share.points,
            share.expires_at.isoformat() if share.expires_at else None,
        ]
        for share in shares
    ]


def stored(request: Request) -> str:
    """A request as JSON, all that is needed to ask what became of it, or to give it again."""
    values = {name: getattr(request, name) for name in type(request).__dataclass_fields__}
    if values.get("expires_at") is BY_LEGACY:
        del values["expires_at"]
    return _json({"type": type(request).__name__, **values})


_REQUESTS: Final[dict[str, type[EarnRequest] | type[SpendRequest] | type[CancelRequest]]] = {
    "EarnRequest": EarnRequest,
    "SpendRequest": SpendRequest,
    "CancelRequest": CancelRequest,
}


def read_stored(text: Any) -> Request:
    """The request that `stored` wrote."""
    values: dict[str, Any] = dict(from_jsonb(text))
    kind = _REQUESTS[values.pop("type")]
    values["operation_id"] = UUID(values["operation_id"])
    if values.get("expires_at"):
        values["expires_at"] = datetime.fromisoformat(values["expires_at"])
    return kind(**values)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
