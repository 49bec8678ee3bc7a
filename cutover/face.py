"""The face of the points under a cutover: whoever decides is asked, and clients cannot tell who it was.

The functions are those of `ledger.door.Face`. In LEGACY_ONLY and LEGACY_FIRST the legacy decides (`wrapped`,
`reading`), in NEW_FIRST and NEW_ONLY the ledger. Where to go is a hint that was read a moment ago; whoever
goes wrong changes nothing and is sent back (`cutover.routes`).
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from django.db import DatabaseError, transaction

from cutover import crossing, deciding, inbox, reading, resolving, routes, shadowing, wrapped
from cutover.deciding import LedgerDoesNotDecide
from cutover.routes import CurrentRoute
from cutover.wrapped import InboxFirst, Later, LegacyDoesNotDecide
from ledger import clock, doorbell, expiry
from ledger import face as ledger
from ledger.commands import Cancel, Command, Earn
from ledger.database import raise_refusal
from ledger.errors import AccountBusy, PrimaryUnavailable, Refusal
from ledger.expiry import ExpiryRun
from ledger.models import AccountStatus, AccountStatusChange
from ledger.operations import elsewhere, first_of_each_key, repeated_in_batch
from ledger.records import (
    BalanceRecord,
    HistoryLine,
    LotRecord,
    OperationRecord,
    Outcome,
    Page,
    SpendPreview,
)

__all__ = [
    "accept",
    "balance",
    "balance_as_of",
    "balance_json",
    "change_account_status",
    "drain_inbox",
    "execute",
    "execute_all",
    "expire_points",
    "find_operation",
    "history_page",
    "lots_page",
    "operations_by_reference",
    "spend_preview",
]

#: How often a command is sent on when the route changes under it.
_TURNS: Final = 4


# --- moving points ------------------------------------------------------------------------------------------
def execute(command: Command) -> Outcome:
    """Have whoever decides decide `command`. Raises what `ledger.operations.execute` raises, and
    PrimaryUnavailable, OutcomeUnknown, NotAvailableInStage, SpendingFrozen, AccountHeld."""
    later: Refusal = AccountBusy("What was accepted earlier on this account is not done yet.")
    try:
        for _ in range(_TURNS):
            try:
                route = deciding.route_of(command)
                decide = wrapped.execute if route.legacy_decides else deciding.by_ledger
                outcome = decide(command)
                _ring(route, [outcome])
                return outcome
            except InboxFirst as first:
                if not inbox.drain_before(first.account_number):
                    break
            except (LegacyDoesNotDecide, LedgerDoesNotDecide):
                routes.forget_hints()
            except Later as told:
                later = told.refusal
                break
        if isinstance(command, Earn | Cancel):
            return accept(command)
    except DatabaseError as error:
        raise_refusal(error)
    raise later


def execute_all(commands: Sequence[Command], *, deadline_seconds: float = 20.0) -> list[Outcome | Refusal]:
    """Decide each of `commands`, all of one client, in order; what was not started after `deadline_seconds`
    comes back as PrimaryUnavailable."""
    started = time.monotonic()
    if routes.is_uniform() and not routes.hint().legacy_decides:
        try:
            outcomes = deciding.all_by_ledger(commands, deadline_seconds=deadline_seconds)
            _ring(routes.hint(), outcomes)
            return outcomes
        except (LedgerDoesNotDecide, Later):
            # One by one, then: what was done by now gives its outcome again.
            routes.forget_hints()
    once = first_of_each_key(commands)
    results: list[Outcome | Refusal] = []
    for command in commands:
        if command is not once[command.idempotency_key]:
            results.append(repeated_in_batch())
        elif time.monotonic() - started > deadline_seconds:
            results.append(PrimaryUnavailable("This item was not started in time."))
        else:
            results.append(_result(command))
    return results


def _ring(route: CurrentRoute, outcomes: Sequence[Outcome | Refusal]) -> None:
    """Wake whoever tells the side that follows; a sweeper does so too."""
    if route.follows is None or transaction.get_connection().in_atomic_block:
        return
    numbers = [one.operation.account_number for one in outcomes if isinstance(one, Outcome)]
    doorbell.ring(task="cutover.tasks.mirror", queue="mirror", argument="account_numbers", ids=numbers)


def _result(command: Command) -> Outcome | Refusal:
    try:
        return execute(command)
    except Refusal as refusal:
        return refusal


def accept(command: Earn | Cancel) -> Outcome:
    """Take `command` into the durable inbox. Raises what `ledger.operations.accept` raises, and
    NotAvailableInStage for what the deciding side has no form for."""
    if not routes.hint().is_finished:
        resolving.check_representable(command)
    return ledger.accept(command)


def drain_inbox(*, account_numbers: Sequence[str] | None = None, limit: int = 1000) -> int:
    """Do what was accepted, in order per account, wherever somebody may decide; how many items were done."""
    if account_numbers is None:
        account_numbers = inbox.waiting_accounts(limit=limit)
    of_legacy, of_ledger = deciding.split(account_numbers)
    done = inbox.drain(account_numbers=of_legacy) if of_legacy else 0
    return done + (deciding.drain_by_ledger(of_ledger) if of_ledger else 0)


def expire_points(
    *,
    as_of: datetime | None = None,
    batch_lots: int = 5000,
    on_batch: Callable[[ExpiryRun], None] | None = None,
) -> ExpiryRun:
    """Post what has lapsed on the accounts of which the ledger decides: only the decider expires."""
    return expiry.expire_points(
        as_of=as_of, batch_lots=batch_lots, on_batch=on_batch, only=deciding.accounts_of_ledger
    )


def change_account_status(
    *, account_number: str, status: AccountStatus, note: str, actor: str
) -> AccountStatusChange:
    """Block, unblock or close an account, whoever decides: it needs no form in the legacy."""
    with transaction.atomic():
        if routes.of_account(account_number).legacy_decides:
            elsewhere.open_account(account_number=account_number, now=clock.now())
        return ledger.change_account_status(
            account_number=account_number, status=status, note=note, actor=actor
        )


# --- reading ------------------------------------------------------------------------------------------------
def find_operation(*, operation_id: UUID, client_id: int, any_client: bool) -> OperationRecord:
    """One operation as it stands: the table of operations is the same in every stage."""
    return ledger.find_operation(operation_id=operation_id, client_id=client_id, any_client=any_client)


def operations_by_reference(
    *, client_id: int, any_client: bool, reference: str, cursor: str | None = None, page_size: int = 50
) -> Page[OperationRecord]:
    """The client's operations for one business fact, and those that came past the API."""
    if cursor is None and routes.hint().legacy_decides:
        reading.adopt_by_reference(reference=reference)
    return ledger.operations_by_reference(
        client_id=client_id, any_client=any_client, reference=reference, cursor=cursor, page_size=page_size
    )


def balance(*, account_number: str) -> BalanceRecord:
    shadowing.sample(account_number, routes.hint(account_number))
    if deciding.legacy_answers(account_number):
        return reading.balance(account_number=account_number)
    return ledger.balance(account_number=account_number)


def balance_json(*, account_number: str) -> bytes:
    shadowing.sample(account_number, routes.hint(account_number))
    if deciding.legacy_answers(account_number):
        return msgspec.json.encode(reading.balance(account_number=account_number))
    return ledger.balance_json(account_number=account_number)


def balance_as_of(*, account_number: str, as_of: datetime) -> BalanceRecord:
    if deciding.legacy_answers(account_number):
        return reading.balance_as_of(account_number=account_number, as_of=as_of)
    return ledger.balance_as_of(account_number=account_number, as_of=as_of)


def lots_page(
    *, account_number: str, state: str = "live", cursor: str | None = None, page_size: int = 50
) -> Page[LotRecord]:
    if deciding.legacy_answers(account_number):
        cursor = crossing.lots_cursor_for_legacy(cursor)
        return reading.lots_page(
            account_number=account_number, state=state, cursor=cursor, page_size=page_size
        )
    cursor = crossing.lots_cursor_for_ledger(cursor)
    return ledger.lots_page(account_number=account_number, state=state, cursor=cursor, page_size=page_size)


def history_page(*, account_number: str, cursor: str | None = None, page_size: int = 50) -> Page[HistoryLine]:
    if deciding.legacy_answers(account_number):
        cursor = crossing.history_cursor_for_legacy(cursor, account_number=account_number)
        return reading.history_page(account_number=account_number, cursor=cursor, page_size=page_size)
    cursor = crossing.history_cursor_for_ledger(cursor, account_number=account_number)
    return ledger.history_page(account_number=account_number, cursor=cursor, page_size=page_size)


def spend_preview(*, account_number: str, points: int) -> SpendPreview:
    if deciding.legacy_answers(account_number):
        return reading.spend_preview(account_number=account_number, points=points)
    with deciding.within_bounds(routes.hint(account_number)):
        return ledger.spend_preview(account_number=account_number, points=points)
