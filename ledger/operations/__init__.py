"""The one door through which points are written (design: "one door").

A command is decided once: the same key with the same body gives its first outcome again. Refusals
are raised by type (`ledger.errors`).
"""

import time
from collections.abc import Iterator, Sequence

from django.db import DatabaseError, connection, transaction

from ledger.commands import Cancel, Command, Earn, Spend
from ledger.database import raise_refusal
from ledger.errors import AccountBusy, IdempotencyKeyReused, PrimaryUnavailable, Refusal
from ledger.models import AccountStatus, AccountStatusChange
from ledger.operations import _executor, _inbox, _status
from ledger.operations._earn_at_once import earn_at_once
from ledger.operations._executor import InboxNotEmpty
from ledger.operations._inbox import stored_command
from ledger.operations._spend_at_once import spend_at_once
from ledger.records import Outcome

__all__ = [
    "accept",
    "change_account_status",
    "drain_inbox",
    "execute",
    "execute_all",
    "first_of_each_key",
    "repeated_in_batch",
    "stored_command",
]

#: How many waiting items one request does before its own, in order, at most.
_DRAIN_BOUND = 200


def execute(command: Command) -> Outcome:
    """Decide `command` and post it, in one transaction.

    Raises InsufficientPoints, AccountBlocked, EarnAlreadySpent, NotCancellable (the outcome, given
    again for this key); ValidationRefused, OperationNotFound, IdempotencyKeyReused,
    OperationInProgress, AccountBusy, DatabaseUnavailable (nothing was written for this key).
    """
    outcome = None
    if isinstance(command, Earn):
        outcome = earn_at_once(command)
    elif isinstance(command, Spend):
        outcome = spend_at_once(command)
    if outcome is not None:
        return outcome
    (result,) = _run_in_turn([command])
    if isinstance(result, Refusal):
        raise result
    return result


def execute_all(commands: Sequence[Command], *, deadline_seconds: float = 20.0) -> list[Outcome | Refusal]:
    """Decide each of `commands`, all of one client, with an effect of its own; results in order.

    Items of one account are done in order. What has not been started after `deadline_seconds`
    comes back as PrimaryUnavailable. Raises nothing that `execute` would raise for an item.
    """
    first = first_of_each_key(commands)
    if len(first) < len(commands):
        results_in_order = iter(execute_all(list(first.values()), deadline_seconds=deadline_seconds))
        return [
            next(results_in_order) if command is first[command.idempotency_key] else repeated_in_batch()
            for command in commands
        ]
    started = time.monotonic()
    results: list[Outcome | Refusal] = []
    for group in _groups(commands):
        if time.monotonic() - started > deadline_seconds:
            refusals = [PrimaryUnavailable("This item was not started in time.") for _ in group]
            results.extend(refusals)
            continue
        try:
            results.extend(_run_in_turn(group))
        except Refusal as refusal:
            results.extend(refusal for _ in group)
    return results


def accept(command: Earn | Cancel) -> Outcome:
    """Take `command` into the durable inbox; it is done in order, soon (state `accepted`).

    Raises ValidationRefused, IdempotencyKeyReused, OperationNotFound, NotCancellable,
    DatabaseUnavailable.
    """
    return _inbox.accept(command)


def drain_inbox(*, account_numbers: Sequence[str] | None = None, limit: int = 1000) -> int:
    """Do what was accepted, in order per account; returns how many items were done.

    Without `account_numbers`, the `limit` accounts that have waited longest.
    """
    return _inbox.drain(account_numbers=account_numbers, limit=limit)


def change_account_status(
    *, account_number: str, status: AccountStatus, note: str, actor: str
) -> AccountStatusChange:
    """Block, unblock or close an account. Raises OperationNotFound, AccountBusy, DatabaseUnavailable,
    and ValueError for reopening a closed one."""
    try:
        with transaction.atomic():
            return _status.change_status(account_number=account_number, status=status, note=note, actor=actor)
    except DatabaseError as error:
        raise_refusal(error)


def _run_in_turn(commands: Sequence[Command]) -> list[Outcome | Refusal]:
    """Run `commands` after what was accepted before them on the same accounts; an earn or a cancel
    that cannot come after it now joins it."""
    for _ in range(3):
        try:
            return _executor.run(commands)
        except InboxNotEmpty as waiting:
            if connection.in_atomic_block or not _drain_before(waiting.account_numbers):
                break
        except DatabaseError as error:
            raise_refusal(error)
    if len(commands) == 1 and isinstance(commands[0], Earn | Cancel):
        return [_inbox.accept(commands[0])]
    raise AccountBusy("What was accepted earlier on this account is not done yet.")


def _drain_before(account_numbers: set[str]) -> bool:
    """Do what waits on these accounts, up to a bound. False when it cannot be done now: the error
    stands with the items, and is not this request's."""
    try:
        for account_number in account_numbers:
            _inbox.drain_account(account_number=account_number, limit=_DRAIN_BOUND)
    except _inbox.InboxStuck:
        return False
    except DatabaseError as error:
        raise_refusal(error)
    return True


def first_of_each_key(commands: Sequence[Command]) -> dict[str, Command]:
    """By key, in order: the first command with it. Looked for over the whole batch, which is cut into several
    transactions."""
    first: dict[str, Command] = {}
    for command in commands:
        first.setdefault(command.idempotency_key, command)
    return first


def repeated_in_batch() -> IdempotencyKeyReused:
    """What the second command with a key is answered."""
    return IdempotencyKeyReused("This key stands twice in the batch.")


def _groups(commands: Sequence[Command]) -> Iterator[list[Command]]:
    """Cut a batch into transactions: everything together, but each cancel by itself, because what
    it may give back depends on what the items before it left."""
    group: list[Command] = []
    for command in commands:
        if isinstance(command, Cancel):
            if group:
                yield group
            yield [command]
            group = []
        else:
            group.append(command)
    if group:
        yield group
