"""One transaction: lock, key, rule, insert, schedule. The only place that does these in order.

A single operation is a batch of one. Items of a batch have each their own effect: what is refused
changes nothing and stops no other, and what PostgreSQL itself refuses is true of all of them.
"""

import random
import time
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

from django.db import DatabaseError, IntegrityError, transaction

from ledger import clock, locks, policies, queries
from ledger.balances import BalanceChange, announce
from ledger.book import NeedsAllLots
from ledger.clients import may_see, system_client_id
from ledger.commands import Adjust, Cancel, Command, Earn, Spend, Transfer
from ledger.database import fetch_all, fetch_each, is_retriable, raise_refusal, violated_constraint
from ledger.errors import AccountHeld, IdempotencyKeyReused, OperationNotFound, Refusal, from_json
from ledger.idempotency import fingerprint, kind_of
from ledger.models import OperationState
from ledger.operations import _adjust, _cancel, _earn, _loading, _spend, _transfer
from ledger.operations._desk import CANCELLABLE_KINDS, Decision, Desk, Target, operation_row
from ledger.records import Outcome

Result = Outcome | Refusal

_ATTEMPTS = 3
_KEY_CONSTRAINT = "operation_key_is_unique_per_client"


class TargetNotPosted(LookupError):
    """The operation that a cancel names was decided elsewhere, and its entries are still to come."""


class InboxNotEmpty(Exception):
    """Something that was accepted earlier on these accounts must be done first."""

    def __init__(self, *, account_numbers: set[str]) -> None:
        super().__init__(account_numbers)
        self.account_numbers = account_numbers


def run(commands: Sequence[Command], *, accepted_at: datetime | None = None) -> list[Result]:
    """Run `commands`, all of one client, in one transaction, and again when others were in the way.

    `accepted_at` is set while the inbox is drained: the operations exist already, as accepted.

    Raises InboxNotEmpty, and AccountBusy, OperationInProgress or DatabaseUnavailable for all of
    them when PostgreSQL did.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _run_once(commands, accepted_at=accepted_at)
        except DatabaseError as error:
            key_was_taken = (
                isinstance(error, IntegrityError) and violated_constraint(error) == _KEY_CONSTRAINT
            )
            in_outer_transaction = transaction.get_connection().in_atomic_block
            if attempt == _ATTEMPTS or in_outer_transaction or not (key_was_taken or is_retriable(error)):
                raise_refusal(error)
            time.sleep(random.uniform(0.005, 0.03) * attempt)
    raise AssertionError("the last attempt returns or raises")


def _run_once(commands: Sequence[Command], *, accepted_at: datetime | None) -> list[Result]:
    complete: set[str] = set()
    with transaction.atomic():
        while True:
            desk, known = _read(commands, accepted_at=accepted_at, complete=complete)
            try:
                results = _decide_all(commands, desk, known, from_inbox=accepted_at is not None)
                break
            except NeedsAllLots as needs:
                # Decide everything again, with all lots of that account on the table.
                complete.add(needs.account_number)
        posting = desk.journal.close()
        if posting.operations or posting.ended_operations or posting.accounts:
            posting.write()
        else:
            # Replayed, or refused and not stored: an account opened for it was opened in vain.
            transaction.set_rollback(True)
        _schedule(desk)
    return results


def _schedule(desk: Desk) -> None:
    """Only after the commit may anybody hear of it (docs/adr/0007-balances-in-redis.md)."""
    changes = [
        BalanceChange(account_id=book.id, account_number=book.account_number, sequence=book.sequence)
        for book in desk.journal.changed_books.values()
    ]
    if changes:
        transaction.on_commit(lambda: announce(changes), robust=True)


def _read(
    commands: Sequence[Command], *, accepted_at: datetime | None, complete: set[str]
) -> tuple[Desk, dict[str, tuple[UUID, bytes]]]:
    """Lock key and accounts, and read under the locks everything that the rules need: in one round
    trip, unless an account is opened, a cancel's target is read, or all lots are needed."""
    targets = _loading.find_targets(
        {command.cancelled_operation_id for command in commands if isinstance(command, Cancel)}
    )
    numbers, opening = _all_accounts_of(commands, targets)
    first = commands[0]
    statements = [
        locks.key_lock(client_id=first.client_id, idempotency_key=first.idempotency_key),
        locks.account_locks(numbers),
        _loading.waiting(numbers),
        _loading.known_keys(
            client_id=first.client_id, keys=[command.idempotency_key for command in commands]
        ),
        _loading.open_lots(numbers),
    ]
    has_one_key = len(commands) == 1 and accepted_at is None
    account_rows, waiting_rows, key_rows, lot_rows = fetch_each(
        statements if has_one_key else statements[1:]
    )[-4:]
    books = locks.books(account_rows)
    if waiting_rows and accepted_at is None:
        raise InboxNotEmpty(account_numbers={row[0] for row in waiting_rows})
    if missing := opening - books.keys():
        locks.open_accounts(missing, now=clock.now())
        account_rows, lot_rows = fetch_each([locks.account_locks(numbers), _loading.open_lots(numbers)])
        books = locks.books(account_rows)
    _loading.fill(books.values(), lot_rows)
    if complete:
        whole = [books[number] for number in complete]
        _loading.fill(whole, fetch_all(*_loading.open_lots(complete, complete=True)), complete=True)
    if any(isinstance(command, Transfer) for command in commands):
        _loading.load_policies(books.values())
    now = clock.now()
    desk = Desk(
        books=books,
        targets=_loading.load_targets(targets),
        reasons=policies.current(),
        now=now,
        judged_at=accepted_at or now,
        system_client_id=system_client_id(),
    )
    return desk, _loading.operations_by_key(key_rows)


def _all_accounts_of(commands: Sequence[Command], targets: dict[UUID, Target]) -> tuple[set[str], set[str]]:
    numbers: set[str] = set()
    opening: set[str] = set()
    for command in commands:
        touched, opened = _accounts_of(command, targets)
        numbers.update(touched)
        opening.update(opened)
    return numbers, opening


def _accounts_of(command: Command, targets: dict[UUID, Target]) -> tuple[list[str], list[str]]:
    """The account numbers that `command` touches, and those of them that it opens."""
    match command:
        case Earn():
            return [command.account_number], [command.account_number]
        case Adjust():
            return [command.account_number], [command.account_number] if command.points > 0 else []
        case Spend():
            return [command.account_number], []
        case Transfer():
            return [command.from_account_number, command.to_account_number], [command.to_account_number]
        case Cancel():
            target = targets.get(command.cancelled_operation_id)
            return ([target.account_number] if target else []), []
        case _:
            assert_never(command)


def _decide_all(
    commands: Sequence[Command],
    desk: Desk,
    known_keys: dict[str, tuple[UUID, bytes]],
    *,
    from_inbox: bool,
) -> list[Result]:
    results: list[Result] = []
    replays: list[tuple[int, UUID]] = []
    keys_in_batch: set[str] = set()
    for index, command in enumerate(commands):
        key = command.idempotency_key
        known = None if from_inbox else known_keys.get(key)
        try:
            if key in keys_in_batch:
                raise IdempotencyKeyReused("This key stands twice in the batch.")
            keys_in_batch.add(key)
            if known is not None:
                if known[1] != fingerprint(command):
                    raise IdempotencyKeyReused("This key was used with another request.")
                replays.append((index, known[0]))
                results.append(IdempotencyKeyReused("replaced below"))
                continue
            results.append(_decide(command, desk, from_inbox=from_inbox))
        except Refusal as refusal:
            results.append(_refuse(command, refusal, desk, from_inbox=from_inbox))
    _fill_in_replays(results, replays)
    return results


def _decide(command: Command, desk: Desk, *, from_inbox: bool) -> Outcome:
    """Decide one command. Raises the refusals of its kind."""
    decision: Decision
    match command:
        case Earn():
            decision = _earn.decide(command, desk)
        case Spend():
            decision = _spend.decide(command, desk)
        case Transfer():
            decision = _transfer.decide(command, desk)
        case Adjust():
            decision = _adjust.decide(command, desk)
        case Cancel():
            target = desk.targets.get(command.cancelled_operation_id)
            if target is None or not may_see(
                owner_id=target.client_id, client_id=command.client_id, any_client=command.any_client
            ):
                raise OperationNotFound("There is no such operation.")
            _check_posted(target, from_inbox=from_inbox)
            decision = _cancel.decide(command, desk)
        case _:
            assert_never(command)
    rows = desk.journal.posting.ended_operations if from_inbox else desk.journal.posting.operations
    rows.append(decision.row)
    return Outcome(operation=decision.record())


def _check_posted(target: Target, *, from_inbox: bool) -> None:
    """What was decided elsewhere and is not posted here yet cannot be cancelled here yet. Raises AccountHeld,
    and for what waits in the inbox, which goes on waiting, TargetNotPosted."""
    is_decided = target.state == OperationState.COMPLETED and target.kind in CANCELLABLE_KINDS
    if not is_decided or target.allocations:
        return
    if from_inbox:
        raise TargetNotPosted(f"Operation {target.id} is not posted here yet.")
    raise AccountHeld("The account waits for what was decided before.")


def _refuse(command: Command, refusal: Refusal, desk: Desk, *, from_inbox: bool) -> Refusal:
    """Keep a refusal that is an outcome; from the inbox every refusal is one, for its 202 is out."""
    if isinstance(refusal, IdempotencyKeyReused) or not (refusal.is_stored or from_inbox):
        return refusal
    account_number, points, cancels_id, kind = _refused_facts(command, desk)
    row = operation_row(
        command,
        kind=kind,
        state=OperationState.FAILED,
        account_number=account_number,
        points=points,
        recorded_at=_refused_at(desk, account_number),
        reason_id=_reason_id(command, desk),
        cancels_id=cancels_id,
        refusal=refusal.to_json(),
        **({"to_account_number": command.to_account_number} if isinstance(command, Transfer) else {}),
    )
    rows = desk.journal.posting.ended_operations if from_inbox else desk.journal.posting.operations
    rows.append(row)
    refusal.operation_id = command.operation_id
    return refusal


def _refused_at(desk: Desk, account_number: str) -> datetime:
    book = desk.books.get(account_number)
    return desk.recorded_at(book) if book else desk.now


def _refused_facts(command: Command, desk: Desk) -> tuple[str, int, UUID | None, str]:
    if isinstance(command, Cancel):
        target = desk.targets.get(command.cancelled_operation_id)
        if target is None:
            return "", command.points or 0, None, kind_of(command)
        kind = "earn_cancel" if target.kind == "earn" else "spend_cancel"
        return target.account_number, command.points or 0, target.id, kind
    if isinstance(command, Transfer):
        return command.from_account_number, command.points, None, kind_of(command)
    return command.account_number, command.points, None, kind_of(command)


def _reason_id(command: Command, desk: Desk) -> int | None:
    found = desk.reasons.reasons.get(command.reason) if command.reason else None
    return found[0].id if found else None


def _fill_in_replays(results: list[Result], replays: list[tuple[int, UUID]]) -> None:
    """Put the first outcomes where the same keys came back."""
    if not replays:
        return
    records = queries.first_outcomes([operation_id for _, operation_id in replays])
    for index, operation_id in replays:
        record = records[operation_id]
        if record.refusal is not None:
            refusal = from_json(record.refusal)
            refusal.operation_id = operation_id
            refusal.is_replayed = True
            results[index] = refusal
        else:
            results[index] = Outcome(operation=record, is_replayed=True)
