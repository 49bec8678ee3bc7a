"""The one face in front of whoever decides: the API, the back office and the tasks ask nobody else.

By itself the ledger answers (`ledger.face`). Where a legacy is configured, the setting POINTS_FACE names
`cutover.face`, which has the same functions and asks the side that decides now
(docs/adr/0022-one-door.md). So nothing below needs to know what stands above it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Protocol, cast
from uuid import UUID

from django.conf import settings

from ledger.commands import Cancel, Command, Earn
from ledger.errors import Refusal
from ledger.expiry import ExpiryRun
from ledger.models import AccountStatus, AccountStatusChange
from ledger.records import (
    BalanceRecord,
    HistoryLine,
    LotRecord,
    OperationRecord,
    Outcome,
    Page,
    SpendPreview,
)


class Face(Protocol):
    """What can be asked. Refusals are raised by type (`ledger.errors`), the same on every side."""

    # --- moving points (ledger.operations says what each raises) -------------------------------------
    def execute(self, command: Command) -> Outcome: ...

    def execute_all(
        self, commands: Sequence[Command], *, deadline_seconds: float = ...
    ) -> list[Outcome | Refusal]: ...

    def accept(self, command: Earn | Cancel) -> Outcome: ...

    def drain_inbox(self, *, account_numbers: Sequence[str] | None = ..., limit: int = ...) -> int: ...

    def expire_points(
        self,
        *,
        as_of: datetime | None = ...,
        batch_lots: int = ...,
        on_batch: Callable[[ExpiryRun], None] | None = ...,
    ) -> ExpiryRun: ...

    def change_account_status(
        self, *, account_number: str, status: AccountStatus, note: str, actor: str
    ) -> AccountStatusChange: ...

    # --- reading (ledger.queries) --------------------------------------------------------------------
    def find_operation(self, *, operation_id: UUID, client_id: int, any_client: bool) -> OperationRecord: ...

    def operations_by_reference(
        self,
        *,
        client_id: int,
        any_client: bool,
        reference: str,
        cursor: str | None = ...,
        page_size: int = ...,
    ) -> Page[OperationRecord]: ...

    def balance(self, *, account_number: str) -> BalanceRecord: ...

    def balance_json(self, *, account_number: str) -> bytes: ...

    def balance_as_of(self, *, account_number: str, as_of: datetime) -> BalanceRecord: ...

    def lots_page(
        self, *, account_number: str, state: str = ..., cursor: str | None = ..., page_size: int = ...
    ) -> Page[LotRecord]: ...

    def history_page(
        self, *, account_number: str, cursor: str | None = ..., page_size: int = ...
    ) -> Page[HistoryLine]: ...

    def spend_preview(self, *, account_number: str, points: int) -> SpendPreview: ...


@cache
def face() -> Face:
    """Whoever answers in this process."""
    return cast(Face, import_module(settings.POINTS_FACE))
