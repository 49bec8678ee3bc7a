"""A preview says what a confirmation will do, and writes nothing."""

from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User

from ledger.models import Account, AccountStatus, Operation
from ledger.operations import change_account_status
from pointsystem.backoffice.support.confirming import confirm
from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import NEVER, Move
from pointsystem.backoffice.support.operation_lines import operation_lines
from pointsystem.backoffice.support.previews import preview
from tests.backoffice.support.people import deduct_of, grant_of
from tests.factories import ReasonFactory
from tests.ledger.member import Member, traces


def cancel_of(member: Member, operation_id: UUID, points: int) -> Move:
    return Move(
        kind=MoveKind.CANCEL,
        key=uuid4(),
        account_number=member.number,
        points=points,
        reason="CORRECTION",
        note="wrong order",
        cancelled_operation_id=operation_id,
    )


def test_a_deduction_shows_the_lots_it_will_take_and_takes_none(member: Member) -> None:
    member.earns(100, reference="order-1")
    member.earns(50)
    before = traces(member.number)

    shown = preview(move=deduct_of(member.number, 120), actor="kim")

    assert (shown.available_before, shown.available_after) == (150, 30)
    assert shown.rehearsed is not None
    assert [move.points for move in shown.rehearsed.entries[0].lots] == [-100, -20]
    assert traces(member.number) == before
    assert member.available == 150


def test_the_confirmation_does_what_the_preview_said(member: Member, supporter: User) -> None:
    member.earns(100)
    member.earns(50)
    move = deduct_of(member.number, 120)
    shown = preview(move=move, actor="kim").rehearsed

    done = confirm(move=move, person=supporter).outcome

    assert shown is not None
    assert done is not None
    posted = operation_lines(operation_ids=[done.operation.id])[done.operation.id]
    assert [(one.lot, one.points) for one in posted.entries[0].lots] == [
        (one.lot, one.points) for one in shown.entries[0].lots
    ]


def test_a_grant_to_a_new_account_shows_its_lot_and_opens_nothing(member: Member) -> None:
    shown = preview(move=grant_of(member.number, 500, expires_at=NEVER), actor="kim")

    assert (shown.available_before, shown.available_after) == (0, 500)
    assert shown.rehearsed is not None
    assert shown.rehearsed.entries[0].is_grant
    assert shown.rehearsed.entries[0].lots[0].expires_at is None
    assert not Account.objects.filter(account_number=member.number).exists()


def test_too_large_a_deduction_is_refused_beforehand_and_leaves_no_trace(member: Member) -> None:
    member.earns(100)

    shown = preview(move=deduct_of(member.number, 101), actor="kim")

    assert shown.refusal is not None
    assert shown.refusal.code == "insufficient_points"
    assert not Operation.objects.filter(account_number=member.number, state="failed").exists()


def test_a_cancel_says_what_cannot_be_got_back(member: Member) -> None:
    earned = member.earns(100)
    member.spends(80)

    shown = preview(move=cancel_of(member, earned.id, 100), actor="kim").rehearsed

    assert shown is not None
    assert [(entry.kind, entry.points) for entry in shown.entries] == [("earn_cancel", -20)]
    assert shown.uncollected_points == 80


def test_a_cancel_that_makes_a_debt_says_so(member: Member) -> None:
    owing = ReasonFactory(policy__clawback="debt").code
    earned = member.earns(100, reason=owing)
    member.spends(80)

    shown = preview(move=cancel_of(member, earned.id, 100), actor="kim").rehearsed

    assert shown is not None
    assert [debt.points for debt in shown.debts] == [80]
    assert Account.objects.get(account_number=member.number).outstanding_debt == 0


def test_amounts_above_the_limit_are_announced(member: Member, settings: Any) -> None:
    settings.POINTS_APPROVAL_LIMIT = 100

    assert not preview(move=grant_of(member.number, 100), actor="kim").needs_second_person
    assert preview(move=grant_of(member.number, 101), actor="kim").needs_second_person


def test_a_closed_account_is_not_opened_again(member: Member) -> None:
    member.earns(10)
    change_account_status(account_number=member.number, status=AccountStatus.CLOSED, note="left", actor="kim")
    move = Move(kind=MoveKind.UNBLOCK, key=uuid4(), account_number=member.number, note="came back")

    shown = preview(move=move, actor="kim")

    assert shown.refusal is not None
    assert shown.status_before == "closed"
