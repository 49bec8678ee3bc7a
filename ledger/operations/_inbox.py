"""Earns and cancels that are accepted now and done in order, soon.

The operation and its inbox row commit together before the 202 goes out; Celery is only the
doorbell, and a sweeper rings it again.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.db import DatabaseError, IntegrityError, connection, transaction

from ledger import clock, doorbell, locks, policies, queries
from ledger.clients import may_see
from ledger.commands import UNSET, Cancel, Command, Earn
from ledger.database import fetch_all, fetch_each, from_jsonb, raise_refusal, violated_constraint
from ledger.errors import IdempotencyKeyReused, NotCancellable, OperationNotFound, Refusal, from_json
from ledger.idempotency import fingerprint
from ledger.models import OperationKind, OperationState
from ledger.operations import _executor, _loading
from ledger.operations._cancel import DEFAULT_REASON, points_to_cancel
from ledger.operations._desk import Decision, operation_row
from ledger.operations._validity import check_occurred_at, expiry_of
from ledger.posting import OperationRow, Posting
from ledger.records import Outcome

log = structlog.get_logger(__name__)


class InboxStuck(Exception):
    """What was accepted on an account could not be done. The error stands with its items."""


_COMMANDS: dict[str, type[Earn] | type[Cancel]] = {"Earn": Earn, "Cancel": Cancel}

_INSERT_ITEM = """
INSERT INTO ledger_inbox (operation_id, account_number, command, accepted_at, attempts, last_error)
VALUES (%s, %s, %s::jsonb, %s, 0, '')
"""

# One drainer per account: the next one waits here, and then finds the rows gone.
_CLAIM_ITEMS = """
SELECT id, command, accepted_at FROM ledger_inbox WHERE account_number = %s ORDER BY id LIMIT %s FOR UPDATE
"""

_DELETE_ITEMS = "DELETE FROM ledger_inbox WHERE id = ANY (%s::bigint[])"

_NOTE_FAILURE = """
UPDATE ledger_inbox SET attempts = attempts + 1, last_error = %s WHERE account_number = %s
"""

_WAITING_ACCOUNTS = """
SELECT account_number FROM ledger_inbox GROUP BY account_number ORDER BY min(id) LIMIT %s
"""


def accept(command: Earn | Cancel) -> Outcome:
    """Take `command` into the inbox: durable when this returns, done a moment later.

    Raises what can be judged now: ValidationRefused, IdempotencyKeyReused, OperationNotFound,
    NotCancellable; and the stored refusal when the key has ended as one.
    """
    try:
        answer = _accept_in_transaction(command)
    except DatabaseError as error:
        raise_refusal(error)
    if isinstance(answer, Refusal):
        raise answer
    return answer


def _accept_in_transaction(command: Earn | Cancel) -> Outcome | Refusal:
    try:
        with transaction.atomic():
            return _accept(command)
    except IntegrityError as error:
        if violated_constraint(error) != "operation_key_is_unique_per_client":
            raise
        with transaction.atomic():
            return _accept(command)


def _accept(command: Earn | Cancel) -> Outcome | Refusal:
    """The accepted operation, or the refusal that is the outcome of its key from now on."""
    _, known_rows = fetch_each(
        [
            locks.key_lock(client_id=command.client_id, idempotency_key=command.idempotency_key),
            _loading.known_keys(client_id=command.client_id, keys=[command.idempotency_key]),
        ]
    )
    known = _loading.operations_by_key(known_rows)
    if command.idempotency_key in known:
        return _replay(command, known[command.idempotency_key])
    row, refusal = _accepted_row(command)
    posting = Posting(operations=[row])
    posting.write()
    if refusal is not None:
        refusal.operation_id = row.id
        return refusal
    fetch_all(_INSERT_ITEM, [row.id, row.account_number, _stored(command), row.recorded_at])
    transaction.on_commit(lambda: doorbell.ring_inbox([row.account_number]), robust=True)
    return Outcome(operation=Decision(row=row, lots=None, reason=_reason_of(command)).record())


def _reason_of(command: Earn | Cancel) -> str:
    """The reason that is kept: a cancel without one has the default."""
    return command.reason or DEFAULT_REASON


def _replay(command: Command, known: tuple[UUID, bytes]) -> Outcome:
    operation_id, known_fingerprint = known
    if known_fingerprint != fingerprint(command):
        raise IdempotencyKeyReused("This key was used with another request.")
    record = queries.first_outcomes([operation_id])[operation_id]
    if record.refusal is not None:
        refusal = from_json(record.refusal)
        refusal.operation_id, refusal.is_replayed = operation_id, True
        raise refusal
    return Outcome(operation=record, is_replayed=True)


def _accepted_row(command: Earn | Cancel) -> tuple[OperationRow, Refusal | None]:
    """The row of an operation that waits, or of one that was refused at once."""
    refusal: Refusal | None = None
    now = clock.now()
    reasons = policies.current()
    if isinstance(command, Earn):
        policy = reasons.reason_for(code=command.reason, kind=OperationKind.EARN)
        check_occurred_at(command.occurred_at, now=now)
        expiry_of(command, policy=policy, now=now)
        kind, account_number, points, cancels_id = (
            OperationKind.EARN,
            command.account_number,
            command.points,
            None,
        )
    else:
        target = _loading.find_targets([command.cancelled_operation_id]).get(command.cancelled_operation_id)
        if target is None or not may_see(
            owner_id=target.client_id, client_id=command.client_id, any_client=command.any_client
        ):
            raise OperationNotFound("There is no such operation.")
        kind = OperationKind.SPEND_CANCEL if target.kind == "spend" else OperationKind.EARN_CANCEL
        policy = reasons.reason_for(code=command.reason or DEFAULT_REASON, kind=kind)
        # An accepted operation is not completed yet; it is before this one in the same inbox.
        points = command.points or target.points
        if target.state != OperationState.ACCEPTED:
            try:
                points = points_to_cancel(command, target)
            except NotCancellable as not_cancellable:
                refusal, points = not_cancellable, command.points or 0
        account_number, cancels_id = target.account_number, target.id
    row = operation_row(
        command,
        kind=kind,
        state=OperationState.ACCEPTED if refusal is None else OperationState.FAILED,
        account_number=account_number,
        points=points,
        recorded_at=now,
        reason_id=policy.reason_id,
        cancels_id=cancels_id,
        refusal=None if refusal is None else refusal.to_json(),
    )
    return row, refusal


def drain_account(*, account_number: str, limit: int = 200) -> int:
    """Do what was accepted on one account, in order. Returns how many were done.

    Raises InboxStuck, with nothing done, and OperationalError when PostgreSQL itself is gone.
    """
    try:
        with transaction.atomic():
            items = fetch_all(_CLAIM_ITEMS, [account_number, limit])
            # Each in its turn: a cancel may be of the earn before it.
            for _, command, accepted_at in items:
                _executor.run([stored_command(command)], accepted_at=accepted_at)
            fetch_all(_DELETE_ITEMS, [[item[0] for item in items]])
            return len(items)
    except (DatabaseError, Refusal, LookupError, TypeError, ValueError) as error:
        if not connection.is_usable():
            raise
        with suppress(DatabaseError):
            fetch_all(_NOTE_FAILURE, [f"{type(error).__name__}: {error}"[:2000], account_number])
        log.warning("inbox_stuck", account_number=account_number, error=str(error))
        raise InboxStuck(account_number) from error


def drain(*, account_numbers: Sequence[str] | None = None, limit: int = 1000) -> int:
    """Drain these accounts, or the ones that have waited longest. Returns how many items were done.

    An account that cannot be drained stops no other: its error stands with its items and in the log,
    and the next sweep tries again. Raises OperationalError when PostgreSQL itself is gone.
    """
    if account_numbers is None:
        account_numbers = [row[0] for row in fetch_all(_WAITING_ACCOUNTS, [limit])]
    done = 0
    for account_number in account_numbers:
        try:
            done += drain_account(account_number=account_number)
        except InboxStuck:
            continue
    return done


def _stored(command: Command) -> str:
    values = {name: getattr(command, name) for name in command.__dataclass_fields__}
    values = {name: value for name, value in values.items() if value is not UNSET}
    return msgspec.json.encode({"type": type(command).__name__, **values}).decode()


def stored_command(stored: Any) -> Earn | Cancel:
    """The command that an item of the inbox keeps."""
    values: dict[str, Any] = dict(from_jsonb(stored))
    command_type = _COMMANDS[values.pop("type")]
    for name in ("expires_at", "occurred_at"):
        if values.get(name):
            values[name] = datetime.fromisoformat(values[name])
    for name in ("operation_id", "cancelled_operation_id"):
        if name in values:
            values[name] = UUID(values[name])
    return command_type(**values)
