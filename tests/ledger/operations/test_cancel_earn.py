from datetime import timedelta

from ledger import queries
from ledger.errors import EarnAlreadySpent, NotCancellable
from ledger.models import Debt
from tests.factories import ReasonFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of, taken, traces


def test_what_is_left_of_the_lot_goes_first(member: Member) -> None:
    earned = member.earns(10)
    other = member.earns(10, expires_at=NOON + timedelta(days=1))

    cancelled = member.cancels(earned, 4)

    assert taken(cancelled) == [((earned.lots or [])[0].lot, 4)]
    assert (cancelled.kind, cancelled.points, cancelled.balance_after) == ("earn_cancel", 4, 16)
    assert member.lots == [(10, 10), (10, 6)]
    found = queries.find_operation(operation_id=earned.id, client_id=member.client_id, any_client=False)
    assert found.cancellable_points == 6
    assert other.cancellable_points == 10


def test_spent_points_are_taken_from_other_lots_and_the_rest_is_reported(member: Member) -> None:
    earned = member.earns(10, expires_at=NOON + timedelta(days=1))
    member.earns(5, expires_at=None)
    member.spends(9)

    cancelled = member.cancels(earned)

    assert (cancelled.points, cancelled.uncollected_points, cancelled.balance_after) == (10, 4, 0)
    assert member.history[-2:] == [("earn_cancel", -1, 5), ("clawback", -5, 0)]
    assert isinstance(refusal_of(member.cancels, earned), NotCancellable)


def test_parts_claw_back_only_what_each_part_covers(member: Member) -> None:
    earned = member.earns(100, expires_at=NOON + timedelta(days=1))
    member.earns(1000, expires_at=None)
    member.spends(60)

    first = member.cancels(earned, 70)  # 40 of its own, 30 of the 60 that were spent
    second = member.cancels(earned, 30)  # the other 30

    assert (first.balance_after, second.balance_after) == (970, 940)
    assert (first.uncollected_points, second.uncollected_points) == (None, None)
    assert member.history[-3:] == [("earn_cancel", -40, 1000), ("clawback", -30, 970), ("clawback", -30, 940)]


def test_points_that_lapsed_unspent_are_owed_by_nobody(member: Member) -> None:
    earned = member.earns(10, expires_at=NOON + timedelta(days=1))
    member.earns(10, expires_at=None)
    member.spends(3)
    days_later(1)

    cancelled = member.cancels(earned)

    assert (cancelled.points, cancelled.uncollected_points, cancelled.balance_after) == (10, None, 7)
    assert member.history[-2:] == [("expire", -7, 10), ("clawback", -3, 7)]


def test_a_reason_may_refuse_to_cancel_what_was_spent(member: Member) -> None:
    reason = ReasonFactory(policy__clawback="reject")
    earned = member.earns(10, reason=reason.code)
    member.spends(4)
    before = traces(member.number)

    refusal = refusal_of(member.cancels, earned)

    assert isinstance(refusal, EarnAlreadySpent)
    assert refusal.detail == "4 of these points have been spent."
    assert traces(member.number) == before
    assert member.cancels(earned, 6).balance_after == 0


def test_a_debt_is_settled_by_the_next_earns_of_that_account(member: Member) -> None:
    reason = ReasonFactory(policy__clawback="debt")
    earned = member.earns(10, reason=reason.code)
    member.spends(10)

    cancelled = member.cancels(earned)
    assert (cancelled.uncollected_points, cancelled.balance_after) == (10, 0)
    assert member.history[-1] == ("spend", -10, 0)
    first = member.earns(4)
    second = member.earns(9)

    assert (first.points, first.balance_after) == (4, 0)
    assert (second.points, second.balance_after) == (9, 3)
    assert member.history[-4:] == [("earn", 4, 4), ("clawback", -4, 0), ("earn", 9, 9), ("clawback", -6, 3)]
    assert sorted(
        Debt.objects.filter(account__account_number=member.number).values_list("points", flat=True)
    ) == [
        -6,
        -4,
        10,
    ]
    assert member.earns(5).balance_after == 8


def test_points_given_back_with_grace_are_own_points_of_the_earn(member: Member) -> None:
    reason = ReasonFactory(policy__restore="grace")
    earned = member.earns(10, reason=reason.code, expires_at=NOON + timedelta(days=1))
    spent = member.spends(10)
    days_later(2)
    member.cancels(spent)

    cancelled = member.cancels(earned)

    assert (cancelled.balance_after, cancelled.uncollected_points) == (0, None)
    assert member.history[-1] == ("earn_cancel", -10, 0)


def test_a_gift_is_never_taken_back_from_the_one_who_got_it(member: Member) -> None:
    earned, friend = member.earns(10), Member()
    member.gives(10, to=friend)

    cancelled = member.cancels(earned)

    assert (cancelled.uncollected_points, cancelled.balance_after) == (10, 0)
    assert friend.available == 10
