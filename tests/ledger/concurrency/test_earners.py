"""Many earn on one account at once: their lots have one order, that of their entries."""

from functools import partial

import pytest

from ledger.models import Lot
from tests.factories import EarnFactory
from tests.ledger.concurrency.together import (
    answer_to,
    assert_every_invariant_holds,
    codes,
    most_at_once,
    together,
)
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")

_ROUNDS = 8


def test_lots_stand_in_the_order_in_which_they_were_granted() -> None:
    """Whoever waits for the account has read the clock before the one it waits for: two lots of one instant
    would stand in the order of their ids, and a side that is told of them one by one knows another."""
    member = Member()
    member.earns(1)
    earners = most_at_once(8)

    for _ in range(_ROUNDS):
        answers = together([_again(member) for _ in range(earners)])
        assert codes(answers) == {"done": earners}

    lots = list(
        Lot.objects.filter(account__account_number=member.number)
        .order_by("earned_at", "id")
        .values_list("earned_at", "entry__sequence")
    )
    assert [sequence for _, sequence in lots] == list(range(1, _ROUNDS * earners + 2))
    assert len({earned_at for earned_at, _ in lots}) == len(lots)
    assert_every_invariant_holds()


def _again(member: Member) -> partial[object]:
    return partial(answer_to, EarnFactory(client_id=member.client_id, account_number=member.number, points=1))
