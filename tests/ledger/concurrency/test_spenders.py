"""A hundred spend from one account at once: never a point more than there was."""

from datetime import timedelta
from functools import partial

import pytest

from ledger import clock
from ledger.models import Entry
from tests.factories import EarnFactory, SpendFactory, TransferFactory
from tests.ledger.concurrency.together import (
    answer_to,
    answers_to,
    assert_every_invariant_holds,
    codes,
    most_at_once,
    together,
)
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")


def points_of(member: Member, kind: str) -> list[int]:
    return list(
        Entry.objects.filter(account__account_number=member.number, kind=kind).values_list(
            "points", flat=True
        )
    )


def test_a_hundred_spenders_never_overspend() -> None:
    member = Member()
    for days in (3, 1, 2):
        member.earns(333, expires_at=clock.now() + timedelta(days=days))
    member.earns(1, expires_at=None)
    mine = {"client_id": member.client_id, "account_number": member.number}
    spenders = most_at_once(100)
    each = -(-500 // spenders)

    def spend_again_and_again() -> list[object]:
        return [answer_to(SpendFactory(**mine, points=7)) for _ in range(each)]

    answers = [answer for some in together([spend_again_and_again] * spenders) for answer in some]

    assert codes(answers) == {"done": 1000 // 7, "insufficient_points": each * spenders - 1000 // 7}
    assert points_of(member, "spend") == [-7] * (1000 // 7)
    assert member.available == 1000 % 7
    assert_every_invariant_holds()


def test_spenders_and_earners_at_once() -> None:
    """What is earned meanwhile may be spent; what is there at the end is the difference."""
    member = Member()
    member.earns(10)
    mine = {"client_id": member.client_id, "account_number": member.number}
    earns = [partial(answer_to, EarnFactory(**mine, points=3)) for _ in range(20)]
    spends = [partial(answer_to, SpendFactory(**mine, points=4)) for _ in range(20)]

    answers = together(earns + spends)

    spent = codes(answers[20:]).get("done", 0)
    assert codes(answers[:20]) == {"done": 20}
    assert member.available == 10 + 60 - 4 * spent
    assert member.available < 4 or spent == 20 or spent >= 2
    assert_every_invariant_holds()


def test_first_earns_open_the_account_once() -> None:
    for _ in range(5):
        member = Member()
        mine = {"client_id": member.client_id, "account_number": member.number}

        answers = together([partial(answer_to, EarnFactory(**mine, points=5)) for _ in range(20)])

        assert codes(answers) == {"done": 20}
        assert member.available == 100
        sequences = Entry.objects.filter(account__account_number=member.number).values_list(
            "sequence", flat=True
        )
        assert sorted(sequences) == list(range(1, 21))
    assert_every_invariant_holds()


def test_gifts_in_opposite_directions_never_deadlock() -> None:
    anna, ben = Member(), Member()
    cleo = Member(client_id=anna.client_id)
    for member in (anna, ben, cleo):
        member.earns(100)
    ways = [(anna, ben), (ben, anna), (ben, cleo), (cleo, ben), (cleo, anna), (anna, cleo)]

    def give(giver: Member, receiver: Member) -> list[object]:
        return [
            answer_to(
                TransferFactory(
                    client_id=anna.client_id,
                    from_account_number=giver.number,
                    to_account_number=receiver.number,
                    points=9,
                )
            )
            for _ in range(5)
        ]

    answers = [answer for five in together([partial(give, *way) for way in ways * 4]) for answer in five]

    assert set(codes(answers)) <= {"done", "insufficient_points"}
    assert len(answers) == 120
    assert sum(member.available for member in (anna, ben, cleo)) == 300
    assert_every_invariant_holds()


def test_batches_over_the_same_accounts_in_opposite_order() -> None:
    members = [Member() for _ in range(4)]
    client_id = members[0].client_id

    def batch(order: list[Member]) -> list[object]:
        return answers_to(
            [EarnFactory(client_id=client_id, account_number=member.number, points=2) for member in order]
        )

    answers = together([partial(batch, members[::step]) for step in (1, -1) * 8])

    assert [codes(batch_answers) for batch_answers in answers] == [{"done": 4}] * 16
    assert [member.available for member in members] == [2 * 16] * 4
    assert_every_invariant_holds()
