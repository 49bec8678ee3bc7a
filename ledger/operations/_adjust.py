"""A correction by hand: what is added becomes a lot, what is taken is taken like a spend."""

from ledger.commands import Adjust
from ledger.errors import InsufficientPoints, ValidationRefused
from ledger.models import EntryKind, OperationKind
from ledger.operations._desk import Decision, Desk, operation_row
from ledger.operations._spend import lot_shares, take_exactly
from ledger.operations._validity import expiry_of


def decide(command: Adjust, desk: Desk) -> Decision:
    """Post the correction. Raises ValidationRefused, AccountBlocked, InsufficientPoints."""
    policy = desk.reasons.reason_for(code=command.reason, kind=OperationKind.ADJUST)
    if command.points == 0:
        raise ValidationRefused(
            field="points", field_code="zero", detail="An adjustment of 0 points is nothing."
        )
    expires_at = expiry_of(command, policy=policy, now=desk.judged_at)
    book = desk.open_book(command.account_number)
    if book is None:
        raise InsufficientPoints("0 points are available.")
    desk.settle_lapsed(book)
    recorded_at = desk.recorded_at(book)
    if command.points > 0:
        lot = book.new_lot(
            points=command.points,
            earned_at=recorded_at,
            expires_at=expires_at,
            reason_id=policy.reason_id,
            policy_id=policy.id,
        )
        shares = [book.grant(lot=lot)]
    else:
        shares = take_exactly(book, points=-command.points, at=recorded_at)
    entry = desk.journal.post_entry(
        book=book,
        operation_id=command.operation_id,
        kind=EntryKind.ADJUST,
        sign=1 if command.points > 0 else -1,
        shares=shares,
        recorded_at=recorded_at,
    )
    if command.points > 0:
        desk.journal.add_lot(lot=shares[0].lot, entry_id=entry.id)
    row = operation_row(
        command,
        kind=OperationKind.ADJUST,
        account_number=command.account_number,
        points=command.points,
        recorded_at=recorded_at,
        reason_id=policy.reason_id,
        balance_after=book.balance,
    )
    return Decision(row=row, lots=lot_shares(shares), reason=policy.reason_code)
