"""Cancelling a spend gives points back in the reverse order of taking; cancelling an earn takes its
own lot first, and then follows the clawback policy."""

from datetime import datetime
from uuid import UUID

from ledger.allocation import LotState, Share, give_back, total
from ledger.book import Book
from ledger.commands import Cancel
from ledger.errors import AccountBlocked, EarnAlreadySpent, NotCancellable
from ledger.models import AccountStatus, Clawback, EntryKind, OperationKind, OperationState, Restore
from ledger.operations._desk import CANCELLABLE_KINDS, Decision, Desk, Target, operation_row
from ledger.operations._spend import lot_shares
from ledger.records import LotShare

DEFAULT_REASON = "ORDER_CANCELLED"


def decide(command: Cancel, desk: Desk) -> Decision:
    """Cancel all or a part. Raises ValidationRefused, NotCancellable, EarnAlreadySpent, AccountBlocked.

    A blocked account may be cancelled on, so that an order that falls through while support looks
    into it is not lost; a closed one may not.
    """
    target = desk.targets[command.cancelled_operation_id]
    is_spend = target.kind == OperationKind.SPEND
    kind = OperationKind.SPEND_CANCEL if is_spend else OperationKind.EARN_CANCEL
    policy = desk.reasons.reason_for(code=command.reason or DEFAULT_REASON, kind=kind)
    points = points_to_cancel(command, target)
    book = desk.books[target.account_number]
    if book.status == AccountStatus.CLOSED:
        raise AccountBlocked("The account is closed.")
    desk.settle_lapsed(book)
    recorded_at = desk.recorded_at(book)
    uncollected_points = None
    if is_spend:
        lots = _cancel_spend(command, desk, target=target, book=book, points=points, at=recorded_at)
    else:
        lots, uncollected_points = _cancel_earn(
            command, desk, target=target, book=book, points=points, at=recorded_at
        )
    target.cancelled_points += points
    row = operation_row(
        command,
        kind=kind,
        account_number=target.account_number,
        points=points,
        recorded_at=recorded_at,
        reason_id=policy.reason_id,
        cancels_id=target.id,
        balance_after=book.balance,
        uncollected_points=uncollected_points,
    )
    return Decision(row=row, lots=lots, reason=policy.reason_code)


def points_to_cancel(command: Cancel, target: Target) -> int:
    """The points that `command` cancels. Raises NotCancellable for more than is left, and for
    everything that is not a completed earn or spend."""
    if target.kind not in CANCELLABLE_KINDS:
        raise NotCancellable(f"An operation of kind {target.kind} cannot be cancelled.")
    if target.state != OperationState.COMPLETED:
        raise NotCancellable(f"The operation is {target.state}.")
    left = target.points - target.cancelled_points
    points = left if command.points is None else command.points
    if left == 0 or points > left:
        raise NotCancellable(f"{left} points of the operation can still be cancelled.")
    return points


def _cancel_spend(
    command: Cancel, desk: Desk, *, target: Target, book: Book, points: int, at: datetime
) -> list[LotShare]:
    lots = {lot.id: lot for lot, _ in target.allocations}
    given = give_back(
        taken=[(lot.id, taken) for lot, taken in target.allocations],
        already_given_back=target.cancelled_points,
        points=points,
    )
    restored: list[Share] = []
    lapsed_again: list[tuple[UUID, int]] = []
    graced: list[tuple[LotState, LotState]] = []
    for lot_id, share in given:
        lot = book.known(lots[lot_id])
        policy = desk.reasons.policy(lot.policy_id) if lot.policy_id is not None else None
        if lot.is_live(at=at):
            restored.append(book.put_back(lot=lot, points=share))
        elif policy is not None and policy.restore == Restore.GRACE:
            grace_lot = book.new_lot(
                points=share,
                earned_at=at,
                expires_at=policy.grace_expires_at(restored_at=at),
                reason_id=lot.reason_id,
                policy_id=lot.policy_id,
            )
            restored.append(book.grant(lot=grace_lot))
            graced.append((grace_lot, lot))
        else:
            restored.append(Share(lot, share))
            lapsed_again.append((lot.id, -share))
    entry = desk.journal.post_entry(
        book=book,
        operation_id=command.operation_id,
        kind=EntryKind.SPEND_CANCEL,
        sign=1,
        shares=restored,
        recorded_at=at,
    )
    for grace_lot, origin in graced:
        desk.journal.add_lot(lot=grace_lot, entry_id=entry.id, origin_id=origin.id)
    if lapsed_again:
        desk.journal.post_signed(
            book=book,
            operation_id=command.operation_id,
            kind=EntryKind.EXPIRE,
            allocations=lapsed_again,
            recorded_at=at,
        )
    return lot_shares(restored)


def _cancel_earn(
    command: Cancel, desk: Desk, *, target: Target, book: Book, points: int, at: datetime
) -> tuple[list[LotShare], int | None]:
    own_lots = [book.known(lot) for lot in [target.allocations[0][0], *target.grace_lots]]
    own = book.take_from(lots=own_lots, points=points, at=at)
    owed = _spent_points_to_claw_back(target, own_points=total(own), points=points)
    clawback = desk.reasons.policy(own_lots[0].policy_id or 0).clawback
    if owed and clawback == Clawback.REJECT:
        book.undo(own)
        raise EarnAlreadySpent(f"{owed} of these points have been spent.")
    others: list[Share] = []
    try:
        others = book.take(points=owed, at=at) if owed else []
    except BaseException:
        book.undo(own)
        raise
    if own:
        desk.journal.post_entry(
            book=book,
            operation_id=command.operation_id,
            kind=EntryKind.EARN_CANCEL,
            sign=-1,
            shares=own,
            recorded_at=at,
        )
    if others:
        desk.journal.post_entry(
            book=book,
            operation_id=command.operation_id,
            kind=EntryKind.CLAWBACK,
            sign=-1,
            shares=others,
            recorded_at=at,
        )
    uncollected = owed - total(others)
    if uncollected and clawback == Clawback.DEBT:
        desk.journal.add_debt(
            book=book, operation_id=command.operation_id, entry_id=None, points=uncollected, recorded_at=at
        )
    return lot_shares(own + others), uncollected or None


def _spent_points_to_claw_back(target: Target, *, own_points: int, points: int) -> int:
    """How many of the cancelled `points` were spent and must come from elsewhere.

    What is left of the earn's own lots counts first, then what was spent of them, and last what
    expired: that part is gone already, and nobody owes it.
    """
    beyond_before = target.cancelled_points - target.own_cancelled_points
    beyond_after = beyond_before + points - own_points
    return max(0, min(beyond_after, target.spent_points) - min(beyond_before, target.spent_points))
