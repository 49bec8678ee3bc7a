"""What a move would do, before it is confirmed: the lots it takes or makes, and what cannot be got back.

Where the ledger decides it is rehearsed: decided by the same rules, under the same locks, and rolled back. So
a preview can be outrun by another operation, but never computes something else than the confirmation does.
Where another side decides, it is asked what it can tell, and the rest is said in words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from ledger import clock, policies, queries
from ledger.allocation import give_back
from ledger.door import face
from ledger.errors import NotAvailableInStage, Refusal, ValidationRefused
from ledger.models import Account, AccountStatus
from ledger.records import LotShare, OperationRecord
from pointsystem.backoffice.support.deciding import decide_by_ledger, legacy_decides
from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import (
    BY_POLICY,
    NEVER,
    STATUS_OF,
    Move,
    client_id,
    command_of,
    needs_second_person,
)
from pointsystem.backoffice.support.operation_lines import (
    SHOWN_ON_A_PAGE,
    OperationLine,
    operation_lines,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Either a refusal, or what would happen. `told` are sentences about what only another side knows."""

    refusal: Refusal | None = None
    #: The whole operation as it would be posted, where the ledger decides.
    rehearsed: OperationLine | None = None
    #: The lots that another side would take or give back to, where it can tell.
    lots: Sequence[LotShare] | None = None
    available_before: int | None = None
    available_after: int | None = None
    status_before: str | None = None
    status_after: str | None = None
    told: Sequence[str] = ()
    needs_second_person: bool = False


def preview(*, move: Move, actor: str) -> Preview:
    """What `move` would do now. Refusals are a part of the answer; raises DatabaseError."""
    if move.kind in STATUS_OF:
        return _status_preview(move)
    second = needs_second_person(move)
    try:
        if legacy_decides(account_number=move.account_number):
            return _asked(move, second=second)
        before = _available(move.account_number)
        rehearsed = _rehearsed(move, actor=actor)
    except Refusal as refusal:
        return Preview(refusal=refusal, needs_second_person=second)
    change = sum(entry.points for entry in rehearsed.entries if entry.account_number == move.account_number)
    after = before + change if rehearsed.state == "completed" else None
    return Preview(
        rehearsed=rehearsed,
        available_before=before,
        available_after=after,
        needs_second_person=second,
    )


def _available(account_number: str) -> int:
    """What can be spent. Points that have lapsed and are not yet posted as expired do not count."""
    return queries.balance(account_number=account_number).available


def _rehearsed(move: Move, *, actor: str) -> OperationLine:
    """The operation with its entries, decided and rolled back. Raises the refusals of `execute`.

    The ledger itself decides and not the face: whatever the stage becomes meanwhile, nothing is given to
    another side by a preview.
    """
    with transaction.atomic():
        try:
            outcome = decide_by_ledger(command_of(move, actor=actor))
            found = operation_lines(operation_ids=[outcome.operation.id], shown=SHOWN_ON_A_PAGE)
        finally:
            transaction.set_rollback(True)
    return found[outcome.operation.id]


def _status_preview(move: Move) -> Preview:
    account = Account.objects.filter(account_number=move.account_number).first()
    before = account.status if account else None
    told = []
    if move.kind == MoveKind.BLOCK:
        told.append(_("Grants, deductions and transfers are then refused; what was done can be cancelled."))
    if move.kind == MoveKind.CLOSE:
        told.append(_("A closed account stays closed: this cannot be undone. Its points stay and lapse."))
    if before == STATUS_OF[move.kind]:
        told.append(_("The account has this status already."))
    refusal = None
    if before == AccountStatus.CLOSED and move.kind != MoveKind.CLOSE:
        refusal = _closed()
    return Preview(refusal=refusal, status_before=before, status_after=STATUS_OF[move.kind].value, told=told)


def _closed() -> Refusal:
    return ValidationRefused(field="status", field_code="closed", detail=_("A closed account stays closed."))


# --- Where another side decides -----------------------------------------------------------------------------
def _asked(move: Move, *, second: bool) -> Preview:
    """What the side that decides can tell beforehand. Raises its refusals."""
    match move.kind:
        case MoveKind.DEDUCT:
            return _asked_deduct(move, second=second)
        case MoveKind.CANCEL:
            return _asked_cancel(move, second=second)
        case MoveKind.TRANSFER:
            raise NotAvailableInStage(_("The point system that decides now does not know gifts."))
    now = clock.now()
    policy = policies.current().reason_for(code=move.reason or "", kind="earn")
    told = [_("The point system that decides now makes the lot, and may set its expiry by its own rules.")]
    told.append(_expiry_in_words(move, policy.expires_at(earned_at=now)))
    available = face().balance(account_number=move.account_number).available
    return Preview(
        available_before=available,
        available_after=available + (move.points or 0),
        told=told,
        needs_second_person=second,
    )


def _expiry_in_words(move: Move, by_policy: datetime | None) -> str:
    if move.expires_at == NEVER or (move.expires_at == BY_POLICY and by_policy is None):
        return _("The points never expire.")
    at = by_policy if move.expires_at == BY_POLICY else datetime.fromisoformat(move.expires_at)
    assert at is not None  # noqa: S101
    day = at.astimezone(clock.programme_zone())
    return _("The points expire at %(at)s.") % {"at": day.strftime("%Y-%m-%d %H:%M")}


def _asked_deduct(move: Move, *, second: bool) -> Preview:
    points = move.points or 0
    told = []
    try:
        told_preview = face().spend_preview(account_number=move.account_number, points=points)
    except NotAvailableInStage:
        # It keeps no lots that anybody could see.
        available = face().balance(account_number=move.account_number).available
        told.append(_("The point system that decides now does not tell which lots it will take."))
        return Preview(
            available_before=available,
            available_after=available - points,
            told=told,
            needs_second_person=second,
        )
    return Preview(
        lots=told_preview.lots,
        available_before=told_preview.available,
        available_after=told_preview.available_after,
        needs_second_person=second,
    )


def _asked_cancel(move: Move, *, second: bool) -> Preview:
    if move.cancelled_operation_id is None:
        raise ValueError("a cancel names no operation")
    points = move.points or 0
    target = face().find_operation(
        operation_id=move.cancelled_operation_id, client_id=client_id(), any_client=True
    )
    available = face().balance(account_number=move.account_number).available
    told: list[Any] = [_("The point system that decides now cancels by its own rules.")]
    lots = None
    if target.kind == "spend":
        lots = _given_back(target, points)
        if lots is None:
            told.append(_("It does not tell which lots the points will come back to."))
        if any(lot.expires_at is not None and lot.expires_at <= clock.now() for lot in lots or []):
            told.append(_("Some of these lots have expired: points that come back to them may lapse."))
    else:
        told.append(_("Points of it that were spent already may not be got back."))
    return Preview(lots=lots, available_before=available, told=told, needs_second_person=second)


def _given_back(target: OperationRecord, points: int) -> list[LotShare] | None:
    """In the reverse order of taking, where it is known what was taken."""
    if target.lots is None or points > target.cancellable_points:
        return None
    expiry = {share.lot: share.expires_at for share in target.lots}
    given = give_back(
        taken=[(share.lot, share.points) for share in target.lots],
        already_given_back=target.points - target.cancellable_points,
        points=points,
    )
    return [LotShare(lot=lot, points=share, expires_at=expiry[lot]) for lot, share in given]
