"""What the two one-statement ways (earn, spend) share."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import DatabaseError, IntegrityError, connection, transaction

from ledger.balances import BalanceChange, announce
from ledger.commands import Earn, Spend
from ledger.database import is_retriable, raise_refusal, violated_constraint
from ledger.idempotency import fingerprint, lock_number
from ledger.models import OperationKind, OperationState
from ledger.records import LotShare, OperationRecord, Outcome


def common_parameters(command: Earn | Spend, *, now: datetime) -> dict[str, Any]:
    """What both statements are given of a command."""
    return {
        "lock_number": lock_number(client_id=command.client_id, idempotency_key=command.idempotency_key),
        "operation_id": command.operation_id,
        "client_id": command.client_id,
        "idempotency_key": command.idempotency_key,
        "fingerprint": fingerprint(command),
        "account_number": command.account_number,
        "points": command.points,
        "reference": command.reference,
        "occurred_at": command.occurred_at,
        "metadata": None if command.metadata is None else msgspec.json.encode(command.metadata).decode(),
        "actor": command.actor,
        "now": now,
    }


def give_way(error: DatabaseError) -> None:
    """Return when another request got in between, which the general way will see; raise the rest.

    Raises AccountBusy, OperationInProgress, DatabaseUnavailable, or what was our own mistake.
    """
    if connection.in_atomic_block:
        # The caller's transaction is lost with the statement.
        raise_refusal(error)
    if (
        isinstance(error, IntegrityError)
        and violated_constraint(error) == "operation_key_is_unique_per_client"
    ):
        return
    if is_retriable(error):
        return
    raise_refusal(error)


def completed(
    command: Earn | Spend,
    *,
    kind: OperationKind,
    reason: str,
    account: tuple[int, int, int, datetime],
    lots: list[LotShare],
) -> Outcome:
    """Announce the new balance after the commit, and give the outcome.

    `account` is what the statement returned of it: id, sequence, balance and recorded_at.
    """
    account_id, sequence, balance, recorded_at = account
    change = BalanceChange(account_id=account_id, account_number=command.account_number, sequence=sequence)
    # Not a partial: Django asks a robust hook that failed for its name.
    transaction.on_commit(lambda: announce([change]), robust=True)
    return Outcome(
        operation=OperationRecord(
            id=command.operation_id,
            kind=kind.value,
            state=OperationState.COMPLETED.value,
            account_number=command.account_number,
            points=command.points,
            reason=reason,
            reference=command.reference,
            occurred_at=command.occurred_at,
            recorded_at=recorded_at.astimezone(UTC),
            cancellable_points=command.points,
            balance_after=balance,
            lots=lots,
            metadata=dict(command.metadata) if command.metadata is not None else None,
        )
    )
