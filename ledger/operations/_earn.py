"""Earning: a lot of its own, and what is owed is settled from it at once."""

from ledger.allocation import total
from ledger.commands import Earn
from ledger.models import EntryKind, OperationKind
from ledger.operations._desk import Decision, Desk, operation_row
from ledger.operations._validity import check_occurred_at, expiry_of
from ledger.records import LotShare


def decide(command: Earn, desk: Desk) -> Decision:
    """Grant the points. Raises ValidationRefused, AccountBlocked."""
    policy = desk.reasons.reason_for(code=command.reason, kind=OperationKind.EARN)
    check_occurred_at(command.occurred_at, now=desk.judged_at)
    expires_at = expiry_of(command, policy=policy, now=desk.judged_at)
    book = desk.opened_book(command.account_number)
    recorded_at = desk.granted_at(book)
    desk.settle_lapsed(book, at=recorded_at)
    lot = book.new_lot(
        points=command.points,
        earned_at=recorded_at,
        expires_at=expires_at,
        reason_id=policy.reason_id,
        policy_id=policy.id,
    )
    entry = desk.journal.post_entry(
        book=book,
        operation_id=command.operation_id,
        kind=EntryKind.EARN,
        sign=1,
        shares=[book.grant(lot=lot)],
        recorded_at=recorded_at,
    )
    desk.journal.add_lot(lot=lot, entry_id=entry.id)
    if not lot.is_live(at=recorded_at):
        # It lapsed while it waited in the inbox.
        lot.remaining = 0
        desk.journal.post_signed(
            book=book,
            operation_id=command.operation_id,
            kind=EntryKind.EXPIRE,
            allocations=[(lot.id, -lot.points)],
            recorded_at=recorded_at,
        )
    elif book.outstanding_debt:
        _settle_debt(command, desk)
    row = operation_row(
        command,
        kind=OperationKind.EARN,
        account_number=command.account_number,
        points=command.points,
        recorded_at=recorded_at,
        reason_id=policy.reason_id,
        balance_after=book.balance,
    )
    granted = LotShare(lot=lot.id, points=lot.points, expires_at=lot.expires_at)
    return Decision(row=row, lots=[granted], reason=policy.reason_code)


def _settle_debt(command: Earn, desk: Desk) -> None:
    """Take what a cancelled earn still owes, in spending order, as a clawback entry."""
    book = desk.books[command.account_number]
    recorded_at = desk.recorded_at(book)
    owed = min(book.outstanding_debt, command.points)
    shares = book.take(points=owed, at=recorded_at)
    if not shares:
        return
    entry = desk.journal.post_entry(
        book=book,
        operation_id=command.operation_id,
        kind=EntryKind.CLAWBACK,
        sign=-1,
        shares=shares,
        recorded_at=recorded_at,
    )
    desk.journal.add_debt(
        book=book,
        operation_id=command.operation_id,
        entry_id=entry.id,
        points=-total(shares),
        recorded_at=recorded_at,
    )
