"""Mirror messages: claimed per account, applied in order, parked when they cannot be.

The database writes them (`cutover_record`). Whoever applies holds the first message of an account by a lease;
what comes after it on that account waits for it. A message that failed for good is parked, with all that is
known of it, and its account with it; every other account goes on.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from cutover.mirroring import metrics
from cutover.models import Direction, Failure
from ledger.database import commit_each, fetch_all, from_jsonb

log = structlog.get_logger(__name__)

#: So long a worker may take for what it claimed, before another takes it up.
LEASE_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LOOKED_AT: Final = 5000

# Account by account, and never as a join: with figures of an empty table, as in the first minutes of a
# backlog, the planner would compare every message with every other.
# Only where somebody follows in that direction, or where the last of an old direction is still owed.
_CLAIM: Final = """
WITH due AS MATERIALIZED (
    SELECT message.account_number
    FROM cutover_message AS message
    LEFT JOIN cutover_member AS member ON member.account_number = message.account_number
    JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
    WHERE message.state = 'waiting' AND message.direction = %(direction)s
        AND message.due_at <= clock_timestamp()
        AND CASE message.direction
            WHEN 'to_ledger' THEN route.stage <> 'LEGACY_ONLY' ELSE route.stage <> 'NEW_ONLY'
        END
    ORDER BY message.due_at
    LIMIT %(looked_at)s
), first AS MATERIALIZED (
    SELECT head.id, head.due_at
    FROM (SELECT DISTINCT account_number FROM due) AS number
    CROSS JOIN LATERAL (
        SELECT id, state, direction, due_at FROM cutover_message
        WHERE account_number = number.account_number AND state IN ('waiting', 'parked')
        ORDER BY id LIMIT 1
    ) AS head
    WHERE head.state = 'waiting' AND head.direction = %(direction)s AND head.due_at <= clock_timestamp()
), locked AS MATERIALIZED (
    SELECT message.id FROM cutover_message AS message
    WHERE message.id = ANY (ARRAY(SELECT id FROM first ORDER BY due_at LIMIT 4 * %(limit)s))
        AND message.state = 'waiting' AND message.due_at <= clock_timestamp()
    LIMIT %(limit)s
    FOR UPDATE OF message SKIP LOCKED
)
UPDATE cutover_message AS message
SET due_at = clock_timestamp() + %(lease)s * interval '1 second'
WHERE message.id = ANY (ARRAY(SELECT id FROM locked))
RETURNING message.id, message.account_number
"""
# What waits behind a parked message is not looked at again and again.
_PUT_OFF: Final = """
WITH behind AS (
    SELECT message.id
    FROM (
        SELECT id, account_number FROM cutover_message
        WHERE state = 'waiting' AND direction = %(direction)s AND due_at <= clock_timestamp()
        ORDER BY due_at LIMIT %(looked_at)s
    ) AS message
    WHERE (
        SELECT head.state FROM cutover_message AS head
        WHERE head.account_number = message.account_number AND head.state IN ('waiting', 'parked')
        ORDER BY head.id LIMIT 1
    ) = 'parked'
)
UPDATE cutover_message AS message SET due_at = clock_timestamp() + interval '1 minute'
FROM behind WHERE message.id = behind.id AND message.state = 'waiting'
"""
_OF_ACCOUNTS: Final = """
SELECT message.id, message.account_number, message.operation_id, message.attempts, message.session,
    message.bookmark, message.created_at
FROM unnest(%(accounts)s::text[]) AS number
CROSS JOIN LATERAL (
    SELECT * FROM cutover_message
    WHERE account_number = number AND state IN ('waiting', 'parked')
    ORDER BY id
    LIMIT %(limit)s
) AS message
WHERE message.state = 'waiting' AND message.direction = %(direction)s
    AND NOT EXISTS (
        SELECT FROM cutover_message AS earlier
        WHERE earlier.account_number = number AND earlier.id < message.id
            AND (earlier.state = 'parked' OR earlier.state = 'waiting' AND earlier.direction <> %(direction)s)
    )
ORDER BY message.account_number, message.id
"""
_SETTLE: Final = """
UPDATE cutover_message
SET state = 'applied', settled_at = clock_timestamp(), settled_by = %(by)s,
    note = coalesce(nullif(%(note)s::text, ''), note), failure = '',
    last_error = '', attempts = attempts + 1
WHERE id = ANY (%(ids)s::bigint[]) AND state IN ('waiting', 'parked')
RETURNING id, extract(epoch FROM settled_at - created_at)::float8
"""
_RETRY: Final = """
UPDATE cutover_message
SET attempts = attempts + 1, failure = 'transient', last_error = %(error)s,
    due_at = clock_timestamp() + least(%(first)s * 2 ^ least(attempts, 20), %(longest)s) * interval '1 second'
WHERE id = ANY (%(ids)s::bigint[]) AND state = 'waiting'
"""
_PARK: Final = """
UPDATE cutover_message
SET state = 'parked', attempts = attempts + 1, failure = %(failure)s, last_error = %(error)s,
    payload = %(payload)s::jsonb
WHERE id = %(id)s AND state = 'waiting' AND session = coalesce(%(session)s, session)
RETURNING account_number, operation_id, direction
"""
_WAIT: Final = """
UPDATE cutover_message
SET last_error = %s, failure = 'transient', due_at = clock_timestamp() + interval '1 second'
WHERE id = ANY (%s::bigint[]) AND state = 'waiting'
"""
_RELEASE: Final = """
UPDATE cutover_message SET due_at = clock_timestamp()
WHERE id = ANY (%s::bigint[]) AND state = 'waiting'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A message that is to be applied now; those of one account come in order."""

    id: int
    account_number: str
    operation_id: UUID
    attempts: int
    session: str
    bookmark: str | None
    created_at: datetime


def claim(*, direction: Direction, accounts: int) -> list[str]:
    """The accounts whose first message is due, leased to the caller: at most `accounts` of them."""
    (rows,) = commit_each(
        [
            (
                _CLAIM,
                {
                    "direction": direction.value,
                    "looked_at": _LOOKED_AT,
                    "limit": accounts,
                    "lease": LEASE_SECONDS,
                },
            )
        ]
    )
    if not rows:
        commit_each([(_PUT_OFF, {"direction": direction.value, "looked_at": _LOOKED_AT})])
    return [account for _, account in rows]


def of_accounts(account_numbers: Collection[str], *, direction: Direction, limit: int) -> list[Waiting]:
    """What waits on these accounts and may be applied now, at most `limit` of each, in order."""
    rows = fetch_all(
        _OF_ACCOUNTS, {"accounts": list(account_numbers), "direction": direction.value, "limit": limit}
    )
    return [
        Waiting(
            id=row[0],
            account_number=row[1],
            operation_id=row[2],
            attempts=row[3],
            session=row[4],
            bookmark=row[5],
            created_at=row[6],
        )
        for row in rows
    ]


def applied(ids: Sequence[int], *, by: str = "worker", note: str = "") -> list[float]:
    """End messages as applied; the seconds that each took since it was written."""
    if not ids:
        return []
    return [row[1] for row in fetch_all(_SETTLE, {"ids": list(ids), "by": by, "note": note})]


def retry(ids: Sequence[int], *, error: str) -> None:
    """Leave messages for later: the more often they failed, the later."""
    commit_each(
        [
            (
                _RETRY,
                {
                    "ids": list(ids),
                    "error": error[:2000],
                    "first": _FIRST_PAUSE_SECONDS,
                    "longest": _LONGEST_PAUSE_SECONDS,
                },
            )
        ]
    )


def wait(ids: Sequence[int], *, why: str) -> None:
    """Look at messages again in a moment: what they wait for comes by itself."""
    if ids:
        commit_each([(_WAIT, [why, list(ids)])])


def release(ids: Sequence[int]) -> None:
    """Give a lease back: somebody may go on at once."""
    if ids:
        commit_each([(_RELEASE, [list(ids)])])


def park(message_id: int, *, failure: Failure, error: str, payload: Any, session: str | None = None) -> bool:
    """Leave a message, and its account, to a person; whether it was waiting, and noted with `session` where
    one is given. What is known of it goes into one line of the log."""
    (rows,) = commit_each(
        [
            (
                _PARK,
                {
                    "id": message_id,
                    "failure": failure.value,
                    "error": error[:2000],
                    "payload": msgspec.json.encode(payload).decode(),
                    "session": session,
                },
            )
        ]
    )
    for account_number, operation_id, direction in rows:
        log.error(
            "mirror_message_parked",
            message=message_id,
            direction=direction,
            account_number=account_number,
            operation_id=str(operation_id),
            failure=failure.value,
            error=error[:2000],
            payload=payload,
        )
        metrics.parked(Direction(direction), failure)
    return bool(rows)


def payload_of(value: Any) -> Any:
    """A stored payload as it was."""
    return from_jsonb(value)
