"""Attempts to tell the legacy, noted on their messages: before the call, and ended after it.

A message with a session noted may have been told: whoever takes it up asks the legacy first. Each change
names the session that it was noted with, so a worker that was stopped for longer than its lease, and comes
back, changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import transaction

from cutover import identifiers, intents
from cutover.mirroring import messages
from cutover.mirroring.messages import Waiting
from cutover.models import Failure
from ledger.database import commit_each, fetch_all
from legacy_bridge.records import Decision

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0

_NOTE: Final = """
UPDATE cutover_message AS message
SET session = noted.session, bookmark = noted.bookmark, attempts = message.attempts + 1,
    due_at = clock_timestamp() + %(lease)s * interval '1 second'
FROM unnest(
    %(ids)s::bigint[], %(befores)s::text[], %(attempts)s::bigint[], %(sessions)s::text[],
    %(bookmarks)s::text[]
) AS noted(id, before, attempts, session, bookmark)
WHERE message.id = noted.id AND message.state = 'waiting' AND message.session = noted.before
    AND message.attempts = noted.attempts
RETURNING message.id
"""
_TAKE_BACK: Final = """
UPDATE cutover_message AS message
SET session = '', bookmark = NULL, attempts = attempts - 1,
    due_at = clock_timestamp() + %(seconds)s * interval '1 second'
FROM unnest(%(ids)s::bigint[], %(sessions)s::text[]) AS noted(id, session)
WHERE message.id = noted.id AND message.state = 'waiting' AND message.session = noted.session
"""
_PUT_OFF: Final = """
UPDATE cutover_message AS message SET due_at = clock_timestamp() + %s * interval '1 second'
FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS read(id, session, attempts)
WHERE message.id = read.id AND message.state = 'waiting' AND message.session = read.session
    AND message.attempts = read.attempts
"""
_LATER: Final = """
UPDATE cutover_message
SET session = CASE WHEN %(is_known)s THEN '' ELSE session END,
    bookmark = CASE WHEN %(is_known)s THEN NULL ELSE bookmark END,
    failure = 'transient', last_error = %(error)s, payload = %(payload)s::jsonb,
    due_at = clock_timestamp() + %(pause)s * interval '1 second'
WHERE id = %(id)s AND state = 'waiting' AND session = %(session)s
"""
_DONE: Final = """
WITH told AS (
    SELECT * FROM json_to_recordset(%(told)s::json) AS row(id bigint, session text, row_id text, note text)
), settled AS (
    UPDATE cutover_message AS message
    SET state = 'applied', settled_at = clock_timestamp(), settled_by = 'worker',
        note = coalesce(nullif(told.note, ''), message.note), failure = '', last_error = ''
    FROM told
    WHERE message.id = told.id AND message.state = 'waiting' AND message.session = told.session
    RETURNING message.id, message.operation_id, told.row_id,
        extract(epoch FROM message.settled_at - message.created_at)::float8 AS lag
), tied AS (
    UPDATE ledger_operation AS operation SET counterpart_id = settled.row_id
    FROM settled
    WHERE operation.id = settled.operation_id AND settled.row_id IS NOT NULL
        AND operation.counterpart_id IS NULL
        AND NOT EXISTS (
            SELECT FROM ledger_operation AS other WHERE other.counterpart_id = settled.row_id
        )
    RETURNING operation.id
)
SELECT settled.id, settled.lag, settled.row_id IS NULL OR tied.id IS NOT NULL
FROM settled LEFT JOIN tied ON tied.id = settled.operation_id
"""
_ADD_ALIASES: Final = """
INSERT INTO cutover_lot_alias (derived_id, lot_id)
SELECT derived_id, lot_id FROM unnest(%s::uuid[], %s::uuid[]) AS row(derived_id, lot_id)
WHERE derived_id <> lot_id
ON CONFLICT DO NOTHING
"""
# What a person was asked about, and what was then done after all.
_RESOLVE: Final = """
UPDATE cutover_mismatch
SET resolved_at = clock_timestamp(), resolved_by = 'worker', resolution = 'It was told after all.'
WHERE account_number = ANY (%s) AND subject = ANY (%s) AND found_by = 'mirror' AND resolved_at IS NULL
"""
# The legacy can surely be asked for the outcome again, so the commit need not wait for the disk.
_NEED_NOT_WAIT: Final = "SELECT set_config('synchronous_commit', 'off', true)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A message that was told, with what the legacy said; None where nothing had to be told."""

    message: Waiting
    #: With which its attempt is noted.
    session: str
    decision: Decision | None
    #: The ledger's lot of an earn.
    granted: UUID | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A message that ended here, the seconds that it took, and whether the legacy's row became its own."""

    message_id: int
    lag_seconds: float
    is_tied: bool


def note(waiting: Sequence[Waiting], *, sessions: Sequence[str], bookmarks: Sequence[str | None]) -> set[int]:
    """Note an attempt on each of these before it is made; those that nobody else has taken up since.

    They are left alone for `messages.LEASE_SECONDS`, and the time that a call may take then.
    """
    (rows,) = commit_each(
        [
            (
                _NOTE,
                {
                    "ids": [message.id for message in waiting],
                    "befores": [message.session for message in waiting],
                    "attempts": [message.attempts for message in waiting],
                    "sessions": list(sessions),
                    "bookmarks": list(bookmarks),
                    "lease": messages.LEASE_SECONDS + intents.lease_seconds(),
                },
            )
        ]
    )
    return {row[0] for row in rows}


def take_back(noted: Sequence[tuple[Waiting, str]], *, after_seconds: float) -> None:
    """Of attempts that were noted with these sessions and not made: as if they had never been."""
    if noted:
        parameters = {
            "ids": [message.id for message, _ in noted],
            "sessions": [session for _, session in noted],
            "seconds": after_seconds,
        }
        commit_each([(_TAKE_BACK, parameters)])


def put_off(waiting: Sequence[Waiting], *, seconds: float) -> None:
    """Leave what nobody tried since it was read for a little later."""
    if waiting:
        read = [[getattr(message, name) for message in waiting] for name in ("id", "session", "attempts")]
        commit_each([(_PUT_OFF, [seconds, *read])])


def leave(message_id: int, *, session: str, attempts: int, error: str, payload: Any, is_known: bool) -> None:
    """Leave an attempt that failed for later: the more often, the later. Unless `is_known` to have done
    nothing, the legacy is asked first."""
    pause_seconds = min(_FIRST_PAUSE_SECONDS * 2 ** min(attempts, 10), _LONGEST_PAUSE_SECONDS)
    parameters = {
        "id": message_id,
        "session": session,
        "error": error[:2000],
        "payload": msgspec.json.encode(payload).decode(),
        "is_known": is_known,
        "pause": pause_seconds,
    }
    commit_each([(_LATER, parameters)])


def park(
    message_id: int, *, session: str, failure: Failure, error: str, payload: Any, is_known: bool
) -> bool:
    """Leave a message to a person, unless another took it up; whether it was parked here."""
    with transaction.atomic():
        if not messages.park(message_id, failure=failure, error=error, payload=payload, session=session):
            return False
        if is_known:
            fetch_all("UPDATE cutover_message SET session = '', bookmark = NULL WHERE id = %s", [message_id])
    return True


def complete(done: Sequence[Done], *, is_durable: bool) -> list[Settled]:
    """End what was told, in the caller's transaction: message, the legacy's row, the granted lots. Those of
    them that nobody else had taken up."""
    if not is_durable:
        fetch_all(_NEED_NOT_WAIT)
    told = [
        {
            "id": each.message.id,
            "session": each.session,
            "row_id": each.decision.row_id if each.decision else None,
            "note": each.note,
        }
        for each in done
    ]
    rows = fetch_all(_DONE, {"told": msgspec.json.encode(told).decode()})
    settled = {row[0]: Settled(message_id=row[0], lag_seconds=row[1], is_tied=row[2]) for row in rows}
    ours = [each for each in done if each.message.id in settled]
    _keep_lots(ours)
    again = [each.message for each in ours if each.message.attempts]
    if again:
        subjects = [f"operation:{message.operation_id}" for message in again]
        fetch_all(_RESOLVE, [[message.account_number for message in again], subjects])
    return list(settled.values())


def _keep_lots(done: Sequence[Done]) -> None:
    pairs = [
        (identifiers.lot_id(each.decision.shares[0].lot_id), each.granted)
        for each in done
        if each.granted is not None and each.decision is not None and each.decision.shares
    ]
    if pairs:
        fetch_all(_ADD_ALIASES, [[derived for derived, _ in pairs], [lot for _, lot in pairs]])
