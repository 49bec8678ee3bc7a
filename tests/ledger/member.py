"""A member in the stories that the tests tell, and the shop that serves it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ledger import clock, operations, queries
from ledger.commands import Adjust, Cancel, Command, Earn, Spend, Transfer
from ledger.errors import Refusal
from ledger.models import Account, Allocation, Entry, Operation
from ledger.records import OperationRecord
from tests.factories import ClientFactory, account_number, idempotency_key

NOON = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)  # 12:00 in Seoul


class Member:
    """One account, and one client that acts on it. Each call is an operation with a key of its own."""

    def __init__(self, *, client_id: int | None = None) -> None:
        self.client_id = ClientFactory().id if client_id is None else client_id
        self.number = account_number()

    def run(self, command_type: type, **values: Any) -> OperationRecord:
        values.setdefault("idempotency_key", idempotency_key())
        values.setdefault("client_id", self.client_id)
        command: Command = command_type(**values)
        return operations.execute(command).operation

    def earns(self, points: int, *, reason: str = "ORDER_REWARD", **values: Any) -> OperationRecord:
        return self.run(Earn, account_number=self.number, points=points, reason=reason, **values)

    def spends(self, points: int, *, reason: str = "ORDER_PAYMENT", **values: Any) -> OperationRecord:
        return self.run(Spend, account_number=self.number, points=points, reason=reason, **values)

    def cancels(
        self, operation: OperationRecord, points: int | None = None, **values: Any
    ) -> OperationRecord:
        return self.run(Cancel, cancelled_operation_id=operation.id, points=points, **values)

    def gives(self, points: int, *, to: "Member", **values: Any) -> OperationRecord:
        return self.run(
            Transfer,
            from_account_number=self.number,
            to_account_number=to.number,
            points=points,
            **{"reason": "GIFT"} | values,
        )

    def is_adjusted(self, points: int, **values: Any) -> OperationRecord:
        return self.run(
            Adjust, account_number=self.number, points=points, **{"reason": "CORRECTION"} | values
        )

    @property
    def available(self) -> int:
        return queries.balance(account_number=self.number).available

    @property
    def history(self) -> list[tuple[str, int, int]]:
        """Oldest first: (kind, points, balance after)."""
        page = queries.history_page(account_number=self.number, page_size=200)
        return [(str(line.kind), line.points, line.balance_after) for line in reversed(page.data)]

    @property
    def lots(self) -> list[tuple[int, int]]:
        """Live lots in spending order: (points, remaining)."""
        page = queries.lots_page(account_number=self.number, page_size=200)
        return [(lot.points, lot.remaining) for lot in page.data]

    @property
    def all_lots(self) -> list[tuple[int, int]]:
        page = queries.lots_page(account_number=self.number, state="all", page_size=200)
        return [(lot.points, lot.remaining) for lot in page.data]


def taken(operation: OperationRecord) -> list[tuple[UUID, int]]:
    return [(share.lot, share.points) for share in operation.lots or []]


def traces(number: str) -> tuple[int, int, int, int]:
    """What a refused operation must not change: rows of the account, and its sequence."""
    account = Account.objects.filter(account_number=number).first()
    return (
        Operation.objects.filter(account_number=number, state="completed").count(),
        Entry.objects.filter(account=account).count() if account else 0,
        Allocation.objects.filter(entry__account=account).count() if account else 0,
        account.sequence if account else 0,
    )


def refusal_of(action: Any, *args: Any, **values: Any) -> Refusal:
    """The refusal that `action` raises. Fails when it raises none."""
    try:
        action(*args, **values)
    except Refusal as refusal:
        return refusal
    raise AssertionError("nothing was refused")


def days_later(days: float) -> datetime:
    """Move the simulated clock by `days`, and return the new instant."""
    instant = clock.now() + timedelta(days=days)
    clock.set_simulated(instant=instant)
    return instant
