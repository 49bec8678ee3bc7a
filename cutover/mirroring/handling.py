"""What a person does about parked messages: look, send again, or skip. Who did it and why is kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from django.db import transaction

from cutover import lots, mismatches
from cutover.mirroring import decided
from cutover.models import Difference, Direction, FoundBy, MessageState
from ledger import doorbell
from ledger.database import fetch_all, from_jsonb
from ledger.models import Operation
from ledger.operations import elsewhere
from legacy_bridge import configured, errors, sessions
from legacy_bridge.records import HistoryRow

log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 10_000

_COLUMNS: Final = """
message.id, message.account_number, message.direction, message.operation_id, message.state,
message.created_at, message.attempts, message.failure, message.last_error, message.payload,
message.settled_by, message.note
"""
_FIND: Final = f"""
SELECT {_COLUMNS} FROM cutover_message AS message WHERE message.id = ANY (%s::bigint[]) ORDER BY message.id
"""  # noqa: S608  (only the constant above is put into the text)
_PARKED: Final = f"""
SELECT {_COLUMNS} FROM cutover_message AS message
WHERE message.state = 'parked' AND coalesce(message.account_number = %(account)s, true)
ORDER BY message.id LIMIT %(limit)s
"""  # noqa: S608
_RESEND: Final = """
WITH again AS (
    UPDATE cutover_message SET state = 'waiting', due_at = clock_timestamp(), note = %(note)s
    WHERE id = ANY (%(ids)s::bigint[]) AND state = 'parked'
    RETURNING id, account_number
), behind AS (
    UPDATE cutover_message AS message SET due_at = clock_timestamp()
    FROM again
    WHERE message.account_number = again.account_number AND message.id > again.id
        AND message.state = 'waiting' AND message.session = ''
)
SELECT id FROM again
"""
# In the order in which those who follow take them.
_LOCK_FOLLOWED: Final = """
SELECT account_number FROM cutover_followed_account
WHERE account_number = ANY (%s) ORDER BY account_number FOR UPDATE
"""
_MAKE_FOLLOWED: Final = """
INSERT INTO cutover_followed_account (account_number)
SELECT DISTINCT number FROM unnest(%s::text[]) AS number ORDER BY number
ON CONFLICT (account_number) DO NOTHING
"""
_LOCK_MESSAGES: Final = "SELECT id FROM cutover_message WHERE id = ANY (%s::bigint[]) ORDER BY id FOR UPDATE"
_IS_FIRST: Final = """
SELECT NOT EXISTS (
    SELECT FROM cutover_message AS earlier
    WHERE earlier.account_number = message.account_number AND earlier.id < message.id
        AND earlier.state IN ('waiting', 'parked')
)
FROM cutover_message AS message WHERE message.id = %s
"""
_END: Final = """
UPDATE cutover_message
SET state = %(state)s, settled_at = clock_timestamp(), settled_by = %(actor)s, note = %(reason)s
WHERE id = %(id)s AND state = 'parked'
"""
_MOVE_PAST: Final = """
UPDATE cutover_followed_account AS followed SET position = operation.counterpart_id
FROM ledger_operation AS operation
WHERE operation.id = %s AND operation.counterpart_id IS NOT NULL
    AND followed.account_number = operation.account_number
"""
_TIE: Final = "UPDATE ledger_operation SET counterpart_id = %s WHERE id = %s AND counterpart_id IS NULL"
_WAKE: Final = """
UPDATE cutover_message SET due_at = clock_timestamp()
WHERE account_number = %s AND state = 'waiting' AND session = ''
"""


class HandlingRefused(Exception):
    """What was asked cannot be done so; the message says why. Nothing was changed."""


class MessageNotFound(HandlingRefused):
    """There is no message with this id."""


class MessageNotParked(HandlingRefused):
    """Only what waits for a person can be skipped: a worker may be at the others."""


class MessageNotFirst(HandlingRefused):
    """An earlier message of the account has to be settled before."""


class ReasonMissing(HandlingRefused):
    """A message is skipped for a reason."""


class RowNotMatching(HandlingRefused):
    """The row of the legacy cannot be this operation."""


class Outcome(Enum):
    RESENT = "resent"
    SKIPPED = "skipped"
    TIED = "applied as that row"
    #: Nothing was changed by these.
    APPLIED_BEFORE = "already applied"
    SKIPPED_BEFORE = "already skipped"
    ON_ITS_WAY = "on its way already"


_UNCHANGED: Final = {
    MessageState.APPLIED: Outcome.APPLIED_BEFORE,
    MessageState.SKIPPED: Outcome.SKIPPED_BEFORE,
    MessageState.WAITING: Outcome.ON_ITS_WAY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as a person sees it. `payload` is what was told when it failed."""

    id: int
    account_number: str
    direction: Direction
    operation_id: UUID
    state: MessageState
    created_at: datetime
    attempts: int
    failure: str
    last_error: str
    payload: Any
    settled_by: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What became of one message by what was asked."""

    message: Message
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would be sent now, beside what failed; `row` is the legacy's own, None where it cannot be read."""

    message: Message
    payload: dict[str, Any]
    row: dict[str, Any] | None


# --- looking ------------------------------------------------------------------------------------------------
def parked(*, account_number: str | None = None, limit: int = _MOST_AT_ONCE) -> list[Message]:
    """What waits for a person, of all accounts or of one, in order."""
    return [_message(row) for row in fetch_all(_PARKED, {"account": account_number, "limit": limit})]


def find(message_ids: Collection[int]) -> list[Message]:
    """These messages, in order. Raises MessageNotFound."""
    found = [_message(row) for row in fetch_all(_FIND, [sorted(set(message_ids))])]
    missing = set(message_ids) - {message.id for message in found}
    if missing:
        raise MessageNotFound(f"There is no message {', '.join(map(str, sorted(missing)))}.")
    return found


def preview(message_ids: Collection[int]) -> list[Preview]:
    """What each of these would tell now. Writes nothing, to either side. Raises MessageNotFound."""
    found = find(message_ids)
    mine = decided.read([each.operation_id for each in found])
    rows = _rows_of([each.operation_id for each in found if each.direction is Direction.TO_LEDGER])
    return [
        Preview(
            message=each,
            payload=decided.payload_of(mine[each.operation_id])
            if each.operation_id in mine
            else {"operation_id": str(each.operation_id)},
            row=rows.get(each.operation_id),
        )
        for each in found
    ]


def _rows_of(operation_ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """The legacy's rows of these operations, as they stand; nothing where it does not answer."""
    known = Operation.objects.filter(id__in=operation_ids, counterpart_id__isnull=False)
    operations = {str(row): operation for operation, row in known.values_list("id", "counterpart_id")}
    if not operations:
        return {}
    try:
        with sessions.session() as session:
            rows = configured.adapter().rows_by_id(session, list(operations))
    except errors.LegacyError as error:
        log.info("mirror_preview_without_rows", error=str(error)[:500])
        return {}
    return {operations[row.row_id]: msgspec.to_builtins(row, enc_hook=str) for row in rows}


# --- sending again ------------------------------------------------------------------------------------------
def resend(*, message_ids: Collection[int], actor: str, reason: str = "") -> list[Handled]:
    """Let parked messages be told again, each once, however many ask for it. What is not parked stays as it
    is, and its outcome says so. Raises MessageNotFound."""
    before = find(message_ids)
    note = f"Sent again by {actor}{f': {reason}' if reason else ''}"[:500]
    ids = [message.id for message in before]
    again = {row[0] for row in fetch_all(_RESEND, {"ids": ids, "note": note})}
    handled = []
    # Anew: another may have been faster.
    for message in find(ids):
        outcome = Outcome.RESENT if message.id in again else _unchanged(message)
        handled.append(Handled(message=message, outcome=outcome))
        _say(message, outcome, actor=actor, reason=reason)
    _ring(message.account_number for message in before if message.id in again)
    return handled


def _unchanged(message: Message) -> Outcome:
    return _UNCHANGED.get(message.state, Outcome.ON_ITS_WAY)


# --- skipping -----------------------------------------------------------------------------------------------
def skip(*, message_ids: Collection[int], actor: str, reason: str) -> list[Handled]:
    """Let the accounts of parked messages go on without them; each leaves a mismatch, resolved by `actor`.

    What was settled before stays as it is. Raises ReasonMissing, MessageNotFound, MessageNotParked and
    MessageNotFirst; then none of them was skipped.
    """
    if not reason.strip():
        raise ReasonMissing("Say why: what is skipped, the other side never learns.")
    with transaction.atomic():
        found = _locked(message_ids)
        handled = [Handled(message=each, outcome=_skip(each, actor=actor, reason=reason)) for each in found]
    for each in handled:
        _say(each.message, each.outcome, actor=actor, reason=reason)
    _ring(each.message.account_number for each in handled if each.outcome is Outcome.SKIPPED)
    return handled


def _locked(message_ids: Collection[int]) -> list[Message]:
    """These messages as they stand, while nobody else changes them or follows their accounts."""
    numbers = sorted({message.account_number for message in find(message_ids)})
    fetch_all(_MAKE_FOLLOWED, [numbers])
    fetch_all(_LOCK_FOLLOWED, [numbers])
    fetch_all(_LOCK_MESSAGES, [list(message_ids)])
    return find(message_ids)


def _skip(message: Message, *, actor: str, reason: str) -> Outcome:
    if message.state in (MessageState.APPLIED, MessageState.SKIPPED):
        return _unchanged(message)
    _check_first_parked(message)
    fetch_all(_END, {"id": message.id, "state": "skipped", "actor": actor[:150], "reason": reason[:500]})
    if message.direction is Direction.TO_LEDGER:
        fetch_all(_MOVE_PAST, [message.operation_id])
    told = message.payload or {"operation_id": str(message.operation_id)}
    is_to_legacy = message.direction is Direction.TO_LEGACY
    _resolve(
        message,
        legacy=None if is_to_legacy else told,
        ledger=told if is_to_legacy else None,
        why=message.last_error or "It was skipped.",
        actor=actor,
        resolution=reason,
    )
    fetch_all(_WAKE, [message.account_number])
    return Outcome.SKIPPED


def _check_first_parked(message: Message) -> None:
    if message.state is not MessageState.PARKED:
        raise MessageNotParked(f"Message {message.id} is not parked: it is {message.state.value}.")
    if not fetch_all(_IS_FIRST, [message.id])[0][0]:
        raise MessageNotFirst(
            f"Message {message.id} is not the first of account {message.account_number} to be settled."
        )


def settle_as_row(*, message_id: int, row_id: str, actor: str, reason: str) -> Handled:
    """The legacy did what a parked message tells, as its row `row_id`, though it cannot be proven.

    Raises ReasonMissing, MessageNotFound, MessageNotParked, MessageNotFirst and RowNotMatching.
    """
    if not reason.strip():
        raise ReasonMissing("Say how you know that this row is it.")
    (message,) = find([message_id])
    row = _matching_row(message, row_id)
    with transaction.atomic():
        (message,) = _locked([message_id])
        _check_first_parked(message)
        fetch_all(_END, {"id": message_id, "state": "applied", "actor": actor[:150], "reason": reason[:500]})
        fetch_all(_TIE, [row_id, message.operation_id])
        told = decided.read([message.operation_id])[message.operation_id]
        if told.kind == "earn" and row.shares:
            lots.add(legacy_lot_id=row.shares[0].lot_id, lot_id=told.touched[0].lot)
        _resolve(
            message,
            legacy={"row": row_id},
            ledger=message.payload,
            why=message.last_error or "It could not be told what became of it.",
            actor=actor,
            resolution=reason,
        )
        fetch_all(_WAKE, [message.account_number])
    _say(message, Outcome.TIED, actor=actor, reason=reason)
    _ring([message.account_number])
    return Handled(message=message, outcome=Outcome.TIED)


def _matching_row(message: Message, row_id: str) -> HistoryRow:
    if message.direction is not Direction.TO_LEGACY:
        raise RowNotMatching("Only what was told to the legacy can be one of its rows.")
    if elsewhere.by_counterpart([row_id]):
        raise RowNotMatching(f"Row {row_id} is another operation already.")
    told = decided.read([message.operation_id])[message.operation_id]
    try:
        with sessions.session() as session:
            found = configured.adapter().rows_by_id(session, [row_id])
    except errors.LegacyError as error:
        raise RowNotMatching(f"The legacy cannot show the row: {error}") from error
    if len(found) != 1:
        raise RowNotMatching(f"The legacy has no row {row_id}.")
    row = found[0]
    same = (row.account_number, row.kind.value, abs(row.points)) == (
        told.account_number,
        told.kind,
        told.points,
    )
    if not same:
        raise RowNotMatching(
            f"Row {row_id} is a {row.kind.value} of {abs(row.points)} points of {row.account_number}; the "
            f"operation is a {told.kind} of {told.points} points of {told.account_number}."
        )
    return row


# --- what is kept of it -------------------------------------------------------------------------------------
def _resolve(message: Message, *, legacy: Any, ledger: Any, why: str, actor: str, resolution: str) -> None:
    """Record the difference that stays, as one that this person has settled."""
    mismatches.record(
        account_number=message.account_number,
        subject=f"operation:{message.operation_id}",
        difference=Difference.REAL,
        found_by=FoundBy.MIRROR,
        legacy=legacy,
        ledger=ledger,
        why=why,
    )
    fetch_all(
        "UPDATE cutover_mismatch SET resolved_at = clock_timestamp(), resolved_by = %s, resolution = %s"
        " WHERE account_number = %s AND subject = %s AND found_by = 'mirror' AND resolved_at IS NULL",
        [actor[:150], resolution[:500], message.account_number, f"operation:{message.operation_id}"],
    )


def _say(message: Message, outcome: Outcome, *, actor: str, reason: str) -> None:
    log.warning(
        "mirror_message_handled",
        message=message.id,
        direction=message.direction.value,
        account_number=message.account_number,
        operation_id=str(message.operation_id),
        outcome=outcome.value,
        by=actor,
        reason=reason,
    )


def _ring(account_numbers: Any) -> None:
    numbers = sorted(set(account_numbers))
    if not numbers:
        return
    # Outside of a transaction of the caller's; the sweeper comes by in any case.
    transaction.on_commit(
        lambda: doorbell.ring(
            task="cutover.tasks.mirror", queue="mirror", argument="account_numbers", ids=numbers
        ),
        robust=True,
    )


def _message(row: tuple[Any, ...]) -> Message:
    return Message(
        id=row[0],
        account_number=row[1],
        direction=Direction(row[2]),
        operation_id=row[3],
        state=MessageState(row[4]),
        created_at=row[5],
        attempts=row[6],
        failure=row[7],
        last_error=row[8],
        payload=from_jsonb(row[9]),
        settled_by=row[10],
        note=row[11],
    )
