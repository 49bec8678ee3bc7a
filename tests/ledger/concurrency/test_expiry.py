"""The instant at which a lot lapses, with spenders and expire jobs on both sides of it."""

import time
from datetime import timedelta

import pytest

from ledger import clock, expiry
from ledger.models import Entry
from ledger.records import Outcome
from tests.factories import SpendFactory
from tests.ledger.concurrency.together import answer_to, assert_every_invariant_holds, patiently, together
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")

#: On a busy machine it takes some of them until the first one spends.
SECONDS_BEFORE = 5


def test_a_lot_is_spent_until_its_instant_and_expired_from_it_on() -> None:
    member = Member()
    lapses_at = clock.now() + timedelta(seconds=SECONDS_BEFORE)
    member.earns(1_000_000, expires_at=lapses_at)

    def spend() -> list[object]:
        """Up to half a second after it, and once after it in any case."""
        answers: list[object] = []
        is_over = False
        while not is_over:
            is_over = clock.now() >= lapses_at + timedelta(seconds=0.5)
            answers.append(
                answer_to(SpendFactory(client_id=member.client_id, account_number=member.number, points=1))
            )
        return answers

    def expire() -> list[object]:
        while clock.now() < lapses_at + timedelta(seconds=0.5):
            patiently(expiry.expire_points)
            time.sleep(0.002)
        return []

    answers = [answer for several in together([spend] * 6 + [expire] * 2) for answer in several]

    expiry.expire_points()
    outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
    entries = Entry.objects.filter(account__account_number=member.number)
    assert outcomes
    assert len(outcomes) < len(answers)
    assert all(outcome.operation.recorded_at < lapses_at for outcome in outcomes)
    assert sum(entries.filter(kind="spend").values_list("points", flat=True)) == -len(outcomes)
    (expired,) = entries.filter(kind="expire")
    assert expired.points == len(outcomes) - 1_000_000
    assert expired.recorded_at >= lapses_at
    assert member.available == 0
    assert_every_invariant_holds()
