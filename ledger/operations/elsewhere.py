"""Operations that another side decides: noted before it is asked, ended with what it said.

The other side's id and its word on lots are opaque here. Statements are given out instead of run, so that
the caller can commit them together with its own rows, in one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from ledger import locks
from ledger.commands import Cancel, Command
from ledger.database import Parameters, fetch_all
from ledger.idempotency import fingerprint, kind_of
from ledger.models import OperationKind

_NOTE: Final = """
INSERT INTO ledger_operation (
    id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id, reference,
    occurred_at, recorded_at, cancels_id, metadata, actor, decided_elsewhere, stage, epoch
) VALUES (
    %(id)s, %(client_id)s, %(key)s, %(fingerprint)s, %(kind)s, 'pending', %(account_number)s, %(points)s,
    %(reason_id)s, %(reference)s, %(occurred_at)s, %(now)s, %(cancels_id)s, %(metadata)s::jsonb, %(actor)s,
    true, %(stage)s, %(epoch)s
)
"""
# What was accepted before (202) is about to be decided.
_NOTE_ACCEPTED: Final = """
UPDATE ledger_operation
SET state = 'pending', decided_elsewhere = true, stage = %(stage)s, epoch = %(epoch)s, points = %(points)s
WHERE id = %(id)s AND state = 'accepted'
"""
_COMPLETE: Final = """
UPDATE ledger_operation
SET state = 'completed', recorded_at = %(recorded_at)s, balance_after = %(balance_after)s,
    -- A row that is another operation's already is not this one's: the outcome counts, whatever the row.
    counterpart_id = CASE WHEN NOT EXISTS (
        SELECT 1 FROM ledger_operation WHERE counterpart_id = %(counterpart_id)s::text
    ) THEN %(counterpart_id)s::text END,
    shares = %(shares)s::jsonb
WHERE id = %(id)s
"""
_FAIL: Final = "UPDATE ledger_operation SET state = 'failed', refusal = %(refusal)s::jsonb WHERE id = %(id)s"
# Only while nobody has taken it up: what another has under way or done is not refused any more.
_FAIL_ACCEPTED: Final = """
UPDATE ledger_operation
SET state = 'failed', refusal = %(refusal)s::jsonb, decided_elsewhere = decided_elsewhere OR %(is_elsewhere)s,
    stage = coalesce(%(stage)s, stage), epoch = coalesce(%(epoch)s, epoch),
    points = coalesce(%(points)s, points)
WHERE id = %(id)s AND state = 'accepted'
RETURNING id
"""
_DOUBT: Final = "UPDATE ledger_operation SET state = 'in_doubt' WHERE id = %(id)s"
# What was not done for certain was not asked; what a 202 was given for waits again.
_FORGET: Final = """
WITH waiting AS (
    UPDATE ledger_operation SET state = 'accepted', decided_elsewhere = false, stage = NULL, epoch = NULL
    WHERE id = %(id)s AND state = 'pending'
        AND EXISTS (SELECT 1 FROM ledger_inbox WHERE operation_id = %(id)s)
    RETURNING id
)
DELETE FROM ledger_operation
WHERE id = %(id)s AND state = 'pending'
    AND NOT EXISTS (SELECT 1 FROM ledger_inbox WHERE operation_id = %(id)s)
"""
_ADOPT: Final = """
INSERT INTO ledger_operation (
    id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id, reference,
    recorded_at, cancels_id, balance_after, decided_elsewhere, counterpart_id, shares
)
SELECT id, client_id, coalesce(idempotency_key, 'legacy:' || counterpart_id), ''::bytea, kind, 'completed',
    account_number, points, reason_id, reference, recorded_at, cancels_id, balance_after, true,
    counterpart_id, shares
FROM json_to_recordset(%s::json) AS row(
    id uuid, client_id integer, kind text, account_number text, points bigint, reason_id smallint,
    reference text, recorded_at timestamptz, cancels_id uuid, balance_after bigint, counterpart_id text,
    shares jsonb, idempotency_key text
)
ON CONFLICT DO NOTHING
"""
_BY_COUNTERPART: Final = """
SELECT operation.counterpart_id, operation.id, reason.code, operation.reference
FROM ledger_operation AS operation
LEFT JOIN ledger_reason AS reason ON reason.id = operation.reason_id
WHERE operation.counterpart_id = ANY (%s)
"""

Statement = tuple[str, Parameters]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """What is noted of a command before it is decided: what the client said, resolved."""

    command: Command
    kind: str
    account_number: str
    points: int
    reason_id: int | None
    stage: str
    epoch: int
    now: datetime
    cancels_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What no call of the API made, as an operation: a row of the other side, or, by a key of its own, a
    correction that no row stands for."""

    id: UUID
    client_id: int
    kind: str
    account_number: str
    points: int
    reason_id: int | None
    reference: str | None
    recorded_at: datetime
    cancels_id: UUID | None
    balance_after: int | None
    counterpart_id: str | None
    shares: list[Any] | None
    idempotency_key: str | None = None


def note(undecided: Undecided, *, is_accepted: bool) -> Statement:
    """Note an operation as pending: a new one, or one that was accepted before."""
    command = undecided.command
    if is_accepted:
        return _NOTE_ACCEPTED, {
            "id": command.operation_id,
            "stage": undecided.stage,
            "epoch": undecided.epoch,
            "points": undecided.points,
        }
    metadata = getattr(command, "metadata", None)
    return _NOTE, {
        "id": command.operation_id,
        "client_id": command.client_id,
        "key": command.idempotency_key,
        "fingerprint": fingerprint(command),
        "kind": undecided.kind,
        "account_number": undecided.account_number,
        "points": undecided.points,
        "reason_id": undecided.reason_id,
        "reference": command.reference,
        "occurred_at": getattr(command, "occurred_at", None),
        "now": undecided.now,
        "cancels_id": undecided.cancels_id,
        "metadata": None if metadata is None else _json(metadata),
        "actor": command.actor,
        "stage": undecided.stage,
        "epoch": undecided.epoch,
    }


def complete(
    *,
    operation_id: UUID,
    recorded_at: datetime,
    balance_after: int | None,
    counterpart_id: str | None,
    shares: list[Any] | None,
) -> Statement:
    """End a pending or doubtful operation as done. `shares`: [[lot, points, expires_at], ...]."""
    return _COMPLETE, {
        "id": operation_id,
        "recorded_at": recorded_at,
        "balance_after": balance_after,
        "counterpart_id": counterpart_id,
        "shares": None if shares is None else _json(shares),
    }


def fail(*, operation_id: UUID, refusal: dict[str, Any]) -> Statement:
    """End a pending or doubtful operation as refused; the key keeps the refusal."""
    return _FAIL, {"id": operation_id, "refusal": _json(refusal)}


def fail_accepted(
    *, operation_id: UUID, refusal: dict[str, Any], undecided: Undecided | None = None
) -> Statement:
    """End an accepted operation as refused, unless another has taken it up; then there is no row.
    `undecided` is what is known of it, where it came so far."""
    return _FAIL_ACCEPTED, {
        "id": operation_id,
        "refusal": _json(refusal),
        "is_elsewhere": undecided is not None,
        "stage": undecided.stage if undecided else None,
        "epoch": undecided.epoch if undecided else None,
        "points": undecided.points if undecided else None,
    }


def doubt(*, operation_id: UUID) -> Statement:
    """Say of a pending operation that nobody but a person can tell what became of it."""
    return _DOUBT, {"id": operation_id}


def forget(*, operation_id: UUID) -> Statement:
    """Let a pending operation go that was not done, for certain: its key is free again."""
    return _FORGET, {"id": operation_id}


def adopt(rows: Sequence[Adopted]) -> None:
    """Give rows of the other side an operation each. What is there already stays as it is."""
    if rows:
        fetch_all(_ADOPT, [_json(rows)])


def by_counterpart(counterpart_ids: Sequence[str]) -> dict[str, tuple[UUID, str | None, str | None]]:
    """By the other side's id: the operation, its reason and its reference."""
    if not counterpart_ids:
        return {}
    rows = fetch_all(_BY_COUNTERPART, [list(counterpart_ids)])
    return {counterpart_id: (found, reason, reference) for counterpart_id, found, reason, reference in rows}


def open_account(*, account_number: str, now: datetime) -> None:
    """Open an account that only the other side has seen, so that it can be blocked."""
    locks.open_accounts([account_number], now=now)


def guessed_kind(command: Command, *, target_kind: str | None) -> str:
    """The kind of operation that `command` asks for; a cancel's follows its target."""
    if isinstance(command, Cancel) and target_kind is not None:
        return OperationKind.EARN_CANCEL if target_kind == OperationKind.EARN else OperationKind.SPEND_CANCEL
    return kind_of(command)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
