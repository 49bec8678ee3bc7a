"""However many cancels race: never more comes back than was spent."""

from functools import partial

import pytest

from tests.factories import CancelFactory, SpendFactory
from tests.ledger.concurrency.together import (
    answer_to,
    assert_every_invariant_holds,
    codes,
    together,
)
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")


def test_parts_of_one_spend_cancelled_by_twenty() -> None:
    member = Member()
    member.earns(60)
    member.earns(60)
    spend = member.spends(100)
    cancel = partial(CancelFactory, client_id=member.client_id, cancelled_operation_id=spend.id)

    answers = together([lambda: answer_to(cancel(points=30))] * 20)

    assert codes(answers) == {"done": 3, "not_cancellable": 17}
    assert member.available == 20 + 90
    # The first lot had 60 of the 100, the second 40: what came back came to the second first.
    assert member.lots == [(60, 50), (60, 60)]
    assert_every_invariant_holds()


def test_all_of_one_earn_cancelled_while_it_is_spent() -> None:
    """Whichever comes first, nobody ends below nothing and the earn is cancelled once."""
    for _ in range(5):
        member = Member()
        earned = member.earns(100)
        cancel = partial(CancelFactory, client_id=member.client_id, cancelled_operation_id=earned.id)
        spend = partial(SpendFactory, client_id=member.client_id, account_number=member.number, points=60)

        answers = together(
            [lambda cancel=cancel: answer_to(cancel())] * 8 + [lambda spend=spend: answer_to(spend())] * 8
        )

        assert codes(answers[:8]) == {"done": 1, "not_cancellable": 7}
        assert codes(answers[8:]) in (
            {"insufficient_points": 8},
            {"done": 1, "insufficient_points": 7},
        )
        assert member.available == 0
    assert_every_invariant_holds()
