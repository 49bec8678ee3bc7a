"""Spending: the lots that expire soonest first; the check is the allocator's result."""

from datetime import datetime

from ledger.allocation import Share, total
from ledger.book import Book
from ledger.commands import Spend
from ledger.errors import InsufficientPoints
from ledger.models import EntryKind, OperationKind
from ledger.operations._desk import Decision, Desk, operation_row
from ledger.operations._validity import check_occurred_at
from ledger.records import LotShare


def decide(command: Spend, desk: Desk) -> Decision:
    """Take the points. Raises ValidationRefused, AccountBlocked, InsufficientPoints."""
    policy = desk.reasons.reason_for(code=command.reason, kind=OperationKind.SPEND)
    check_occurred_at(command.occurred_at, now=desk.judged_at)
    book = desk.open_book(command.account_number)
    if book is None:
        raise InsufficientPoints("0 points are available.")
    desk.settle_lapsed(book)
    recorded_at = desk.recorded_at(book)
    shares = take_exactly(book, points=command.points, at=recorded_at)
    desk.journal.post_entry(
        book=book,
        operation_id=command.operation_id,
        kind=EntryKind.SPEND,
        sign=-1,
        shares=shares,
        recorded_at=recorded_at,
    )
    row = operation_row(
        command,
        kind=OperationKind.SPEND,
        account_number=command.account_number,
        points=command.points,
        recorded_at=recorded_at,
        reason_id=policy.reason_id,
        balance_after=book.balance,
    )
    return Decision(row=row, lots=lot_shares(shares), reason=policy.reason_code)


def take_exactly(book: Book, *, points: int, at: datetime) -> list[Share]:
    """Take `points`, or nothing at all. Raises InsufficientPoints."""
    shares = book.take(points=points, at=at)
    available = total(shares)
    if available < points:
        book.undo(shares)
        raise InsufficientPoints(f"{available} points are available.")
    return shares


def lot_shares(shares: list[Share]) -> list[LotShare]:
    return [
        LotShare(lot=share.lot.id, points=share.points, expires_at=share.lot.expires_at) for share in shares
    ]
