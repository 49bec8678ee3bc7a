"""The face of the points under a cutover: whoever decides is asked, and clients cannot tell who it was.

The functions are those of `ledger.door.Face`. In LEGACY_ONLY the legacy decides (`wrapped`, `reading`); in
NEW_ONLY the ledger does. The stages between come with mirroring, and no route can be set to them yet.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from django.db import DatabaseError, transaction

from cutover import inbox, reading, resolving, routes, wrapped
from cutover.wrapped import InboxFirst, LegacyDoesNotDecide
from ledger import clock
from ledger import face as ledger
from ledger.commands import Cancel, Command, Earn
from ledger.database import raise_refusal
from ledger.errors import AccountBusy, PrimaryUnavailable, Refusal
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
    "find_operation",
    "history_page",
    "lots_page",
    "operations_by_reference",
    "spend_preview",
]

Answer = TypeVar("Answer")


# --- moving points ------------------------------------------------------------------------------------------
def execute(command: Command) -> Outcome:
    """Have whoever decides decide `command`. Raises what `ledger.operations.execute` raises, and
    PrimaryUnavailable, OutcomeUnknown, NotAvailableInStage."""
    try:
        for _ in range(3):
            try:
                return wrapped.execute(command)
            except InboxFirst as first:
                if not inbox.drain_before(first.account_number):
                    break
            except LegacyDoesNotDecide:
                return ledger.execute(command)
        if isinstance(command, Earn | Cancel):
            return accept(command)
    except DatabaseError as error:
        raise_refusal(error)
    raise AccountBusy("What was accepted earlier on this account is not done yet.")


def execute_all(commands: Sequence[Command], *, deadline_seconds: float = 20.0) -> list[Outcome | Refusal]:
    """Decide each of `commands`, all of one client, in order; what was not started after `deadline_seconds`
    comes back as PrimaryUnavailable."""
    if not routes.current().legacy_decides:
        return ledger.execute_all(commands, deadline_seconds=deadline_seconds)
    started = time.monotonic()
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


def _result(command: Command) -> Outcome | Refusal:
    try:
        return execute(command)
    except Refusal as refusal:
        return refusal


def accept(command: Earn | Cancel) -> Outcome:
    """Take `command` into the durable inbox. Raises what `ledger.operations.accept` raises, and
    NotAvailableInStage for what the deciding side has no form for."""
    resolving.check_representable(command)
    return ledger.accept(command)


def drain_inbox(*, account_numbers: Sequence[str] | None = None, limit: int = 1000) -> int:
    """Do what was accepted, in order per account; how many items were done."""
    if not routes.current().legacy_decides:
        return ledger.drain_inbox(account_numbers=account_numbers, limit=limit)
    return inbox.drain(account_numbers=account_numbers, limit=limit)


def change_account_status(
    *, account_number: str, status: AccountStatus, note: str, actor: str
) -> AccountStatusChange:
    """Block, unblock or close an account, whoever decides: it needs no form in the legacy."""
    with transaction.atomic():
        if routes.current().legacy_decides:
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
    if cursor is None and _legacy_decides():
        reading.adopt_by_reference(reference=reference)
    return ledger.operations_by_reference(
        client_id=client_id, any_client=any_client, reference=reference, cursor=cursor, page_size=page_size
    )


def balance(*, account_number: str) -> BalanceRecord:
    return _read(
        lambda: reading.balance(account_number=account_number),
        lambda: ledger.balance(account_number=account_number),
    )


def balance_json(*, account_number: str) -> bytes:
    return _read(
        lambda: msgspec.json.encode(reading.balance(account_number=account_number)),
        lambda: ledger.balance_json(account_number=account_number),
    )


def balance_as_of(*, account_number: str, as_of: datetime) -> BalanceRecord:
    return _read(
        lambda: reading.balance_as_of(account_number=account_number, as_of=as_of),
        lambda: ledger.balance_as_of(account_number=account_number, as_of=as_of),
    )


def lots_page(
    *, account_number: str, state: str = "live", cursor: str | None = None, page_size: int = 50
) -> Page[LotRecord]:
    side = reading if _legacy_decides() else ledger
    return side.lots_page(account_number=account_number, state=state, cursor=cursor, page_size=page_size)


def history_page(*, account_number: str, cursor: str | None = None, page_size: int = 50) -> Page[HistoryLine]:
    side = reading if _legacy_decides() else ledger
    return side.history_page(account_number=account_number, cursor=cursor, page_size=page_size)


def spend_preview(*, account_number: str, points: int) -> SpendPreview:
    side = reading if _legacy_decides() else ledger
    return side.spend_preview(account_number=account_number, points=points)


def _read(of_legacy: Callable[[], Answer], of_ledger: Callable[[], Answer]) -> Answer:
    return of_legacy() if _legacy_decides() else of_ledger()


def _legacy_decides() -> bool:
    """For reading a hint suffices: a moment earlier the other side was the right one to ask."""
    return routes.hint().legacy_decides
