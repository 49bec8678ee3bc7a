"""A member's year, told once from beginning to end, with the books closed at its end."""

from datetime import timedelta

from ledger import expiry, queries
from ledger.models import Debt
from tests.factories import ReasonFactory
from tests.ledger.member import NOON, Member, days_later


def test_a_members_year(member: Member) -> None:
    review = ReasonFactory(policy__clawback="debt", policy__validity_days=30)
    # March: an order, a review, a gift card.
    order = member.earns(300, reference="order-1")
    reviewed = member.earns(50, reason=review.code)
    member.earns(1000, reason="GIFT_CARD")
    assert member.available == 1350

    # April: the review's points are about to lapse, so they go first.
    days_later(20)
    spent = member.spends(400, reference="order-2")
    assert [share.points for share in spent.lots or []] == [50, 300, 50]

    # The order is sent back in parts: the card's points first, then the order's.
    member.cancels(spent, 150)
    assert member.lots == [(300, 100), (1000, 1000)]

    # The review turns out to be bought: its points were spent, so others are taken.
    member.cancels(reviewed)
    assert member.history[-1] == ("clawback", -50, 1050)
    assert not Debt.objects.filter(account__account_number=member.number).exists()

    # May: a birthday present for a friend.
    days_later(30)
    friend = Member()
    member.gives(60, to=friend)
    assert (member.available, friend.available) == (990, 60)

    # The first order is cancelled too. Of its 300 points 200 were spent, 50 paid for the review and 50
    # went to the friend, who keeps them: the card pays for all of it.
    member.cancels(order)
    assert member.history[-1] == ("clawback", -300, 690)

    # Next March: the card never lapses; what the friend got of the order does.
    days_later(365)
    expiry.expire_points()
    assert member.available == 690
    assert friend.history == [("transfer_in", 60, 60), ("expire", -50, 10)]

    # The books close: every line carries on from the one before, and the last is what can be spent.
    balance = 0
    for _, points, after in member.history:
        balance += points
        assert after == balance
    assert balance == queries.balance(account_number=member.number).available == 690
    assert (
        queries.balance_as_of(account_number=member.number, as_of=NOON + timedelta(days=1)).available == 1350
    )
