"""What the rules have on the table while they decide: the books, the reasons, the instant."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ledger.allocation import LotState
from ledger.book import Book, Journal
from ledger.commands import Command
from ledger.errors import AccountBlocked
from ledger.idempotency import fingerprint
from ledger.identifiers import uuid7
from ledger.models import AccountStatus, EntryKind, OperationKind, OperationState
from ledger.policies import ReasonBook
from ledger.posting import OperationRow
from ledger.records import LotShare, OperationRecord

_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(slots=True, kw_only=True)
class Target:
    """The operation that a cancel names, and what was cancelled of it so far."""

    id: UUID
    client_id: int
    kind: str
    state: str
    account_number: str
    points: int
    cancelled_points: int
    #: Allocations of its earn or spend entry in order: (lot, points), points positive.
    allocations: list[tuple[LotState, int]] = field(default_factory=list)
    #: Open lots that were given back with grace out of the lots above.
    grace_lots: list[LotState] = field(default_factory=list)
    #: Of an earn: points that left its lots by spends and transfers and have not come back.
    spent_points: int = 0
    #: Of an earn: points that earlier cancels took from its own lots.
    own_cancelled_points: int = 0


@dataclass(slots=True)
class Desk:
    """Everything that was read under the locks, and the journal of what is decided."""

    books: dict[str, Book]
    targets: dict[UUID, Target]
    reasons: ReasonBook
    now: datetime
    #: The instant against which the client's own times are judged: of its acceptance, for the inbox.
    judged_at: datetime
    system_client_id: int
    journal: Journal = field(default_factory=Journal)

    def open_book(self, account_number: str) -> Book | None:
        """The book of an account that may move points; None for one that was never opened.

        Raises AccountBlocked.
        """
        book = self.books.get(account_number)
        if book is not None and book.status != AccountStatus.OPEN:
            raise AccountBlocked(f"The account is {book.status}.")
        return book

    def opened_book(self, account_number: str) -> Book:
        """The book of an account that was opened under the lock where it was missing.

        Raises AccountBlocked.
        """
        self.open_book(account_number)
        return self.books[account_number]

    def recorded_at(self, *books: Book) -> datetime:
        """The instant of the decision: never before an earlier one on the same account."""
        return max([self.now, *(book.last_recorded_at for book in books)])

    def granted_at(self, book: Book) -> datetime:
        """The instant of an earn: after every earlier one on the account, if only by a microsecond.

        Who waited for the account has read the clock before the one it waited for. Lots of one instant
        would stand in the order of their ids, and on a side that follows in the order in which it heard
        of them (docs/adr/0024-the-ledger-within-bounds.md).
        """
        now = self.recorded_at(book)
        return now if not book.sequence or now > book.last_recorded_at else now + _MICROSECOND

    def settle_lapsed(self, book: Book, *, at: datetime | None = None) -> None:
        """Post what has lapsed on the account before anything else is: the balance after each
        entry is then what could be spent. Its operation belongs to the system client."""
        at = at or self.recorded_at(book)
        lots = book.lapsed(at=at)
        if not lots:
            return
        shares = [(lot.id, -lot.remaining) for lot in lots]
        points = -sum(points for _, points in shares)
        for lot in lots:
            lot.remaining = 0
            book.touched[lot.id] = lot
        operation_id = uuid7()
        self.journal.posting.operations.append(
            OperationRow(
                id=operation_id,
                client_id=self.system_client_id,
                idempotency_key=f"expire:{operation_id}",
                fingerprint="",
                kind=OperationKind.EXPIRE,
                state=OperationState.COMPLETED,
                account_number=book.account_number,
                points=points,
                reason_id=None,
                reference=None,
                occurred_at=None,
                recorded_at=at,
                balance_after=book.balance - points,
            )
        )
        self.journal.post_signed(
            book=book, operation_id=operation_id, kind=EntryKind.EXPIRE, allocations=shares, recorded_at=at
        )


@dataclass(slots=True, kw_only=True)
class Decision:
    """The row of a decided operation, and the lots it shows to the client."""

    row: OperationRow
    lots: Sequence[LotShare] | None
    reason: str | None

    def record(self) -> OperationRecord:
        row = self.row
        return OperationRecord(
            id=row.id,
            kind=row.kind,
            state=row.state,
            account_number=row.account_number,
            to_account_number=row.to_account_number,
            points=row.points,
            reason=self.reason,
            reference=row.reference,
            occurred_at=row.occurred_at,
            recorded_at=row.recorded_at,
            cancels=row.cancels_id,
            cancellable_points=first_cancellable_points(kind=row.kind, state=row.state, points=row.points),
            uncollected_points=row.uncollected_points,
            balance_after=row.balance_after,
            lots=self.lots,
            metadata=row.metadata,
            refusal=row.refusal,
        )


CANCELLABLE_KINDS = (OperationKind.EARN, OperationKind.SPEND)


def first_cancellable_points(*, kind: str, state: str, points: int) -> int:
    """What can be cancelled of an operation at the moment it is completed."""
    return points if kind in CANCELLABLE_KINDS and state == OperationState.COMPLETED else 0


def operation_row(
    command: Command,
    *,
    kind: str,
    account_number: str,
    points: int,
    recorded_at: datetime,
    reason_id: int | None,
    state: str = OperationState.COMPLETED,
    **outcome: Any,
) -> OperationRow:
    """The row of `command`: what the client said, and what was decided (`outcome`)."""
    return OperationRow(
        id=command.operation_id,
        client_id=command.client_id,
        idempotency_key=command.idempotency_key,
        fingerprint=fingerprint(command).hex(),
        kind=kind,
        state=state,
        account_number=account_number,
        points=points,
        reason_id=reason_id,
        reference=command.reference,
        occurred_at=getattr(command, "occurred_at", None),
        recorded_at=recorded_at,
        metadata=getattr(command, "metadata", None),
        actor=command.actor,
        **outcome,
    )
