"""A gift: points of one account become lots of another, with the same expiry and their origin."""

from ledger.allocation import LotState, Share
from ledger.commands import Transfer
from ledger.errors import InsufficientPoints, ValidationRefused
from ledger.models import EntryKind, OperationKind
from ledger.operations._desk import Decision, Desk, operation_row
from ledger.operations._spend import lot_shares, take_exactly


def decide(command: Transfer, desk: Desk) -> Decision:
    """Move the points. Raises ValidationRefused, AccountBlocked, InsufficientPoints."""
    policy = desk.reasons.reason_for(code=command.reason, kind=OperationKind.TRANSFER)
    if command.from_account_number == command.to_account_number:
        raise ValidationRefused(
            field="to", field_code="same_account", detail="from and to are the same account."
        )
    giver = desk.open_book(command.from_account_number)
    receiver = desk.opened_book(command.to_account_number)
    if giver is None:
        raise InsufficientPoints("0 points are available.")
    desk.settle_lapsed(giver)
    desk.settle_lapsed(receiver)
    recorded_at = desk.recorded_at(giver, receiver)
    taken = take_exactly(giver, points=command.points, at=recorded_at)
    desk.journal.post_entry(
        book=giver,
        operation_id=command.operation_id,
        kind=EntryKind.TRANSFER_OUT,
        sign=-1,
        shares=taken,
        recorded_at=recorded_at,
    )
    given: list[tuple[Share, LotState]] = []
    for share in taken:
        lot = receiver.new_lot(
            points=share.points,
            earned_at=recorded_at,
            expires_at=share.lot.expires_at,
            reason_id=share.lot.reason_id,
            policy_id=share.lot.policy_id,
        )
        given.append((share, lot))
    entry = desk.journal.post_entry(
        book=receiver,
        operation_id=command.operation_id,
        kind=EntryKind.TRANSFER_IN,
        sign=1,
        shares=[receiver.grant(lot=lot) for _, lot in given],
        recorded_at=recorded_at,
    )
    for share, lot in given:
        desk.journal.add_lot(lot=lot, entry_id=entry.id, origin_id=share.lot.id)
    row = operation_row(
        command,
        kind=OperationKind.TRANSFER,
        account_number=command.from_account_number,
        to_account_number=command.to_account_number,
        points=command.points,
        recorded_at=recorded_at,
        reason_id=policy.reason_id,
        balance_after=giver.balance,
    )
    return Decision(row=row, lots=lot_shares(taken), reason=policy.reason_code)
