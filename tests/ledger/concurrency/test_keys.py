"""The same key from many at once: one effect, and the same bytes for everybody."""

from typing import Any

import msgspec
import pytest

from ledger.errors import IdempotencyKeyReused
from ledger.models import Entry, Operation
from ledger.records import Outcome
from tests.factories import EarnFactory, SpendFactory, idempotency_key
from tests.ledger.concurrency.together import answer_to, assert_every_invariant_holds, together
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")

STORMS = 50
SENDERS = 20


def test_fifty_storms_of_twenty_equal_keys_have_fifty_effects() -> None:
    """One in four sends another body under the key: whoever came first decides which body it is."""
    member = Member()
    member.earns(100_000)
    mine = {"client_id": member.client_id, "account_number": member.number}
    keys = [idempotency_key() for _ in range(STORMS)]

    def send_all(sender: int) -> list[Any]:
        points = 2 if sender % 4 == 0 else 1
        return [
            answer_to(
                (EarnFactory if storm % 2 else SpendFactory)(**mine, idempotency_key=key, points=points)
            )
            for storm, key in enumerate(keys)
        ]

    answers = together([lambda sender=sender: send_all(sender) for sender in range(SENDERS)])

    effects = 0
    for storm, key in enumerate(keys):
        stored = Operation.objects.get(client_id=member.client_id, idempotency_key=key)
        effects += Entry.objects.filter(operation=stored).count()
        storm_answers = [answers[sender][storm] for sender in range(SENDERS)]
        first_body_senders = [
            sender for sender in range(SENDERS) if (sender % 4 == 0) == (stored.points == 2)
        ]
        outcomes = [storm_answers[sender] for sender in first_body_senders]
        assert all(isinstance(outcome, Outcome) for outcome in outcomes)
        assert len({msgspec.json.encode(outcome.operation) for outcome in outcomes}) == 1
        assert [outcome.is_replayed for outcome in outcomes].count(False) == 1
        others = [answer for answer in storm_answers if not isinstance(answer, Outcome)]
        assert [type(answer) for answer in others] == [IdempotencyKeyReused] * (SENDERS - len(outcomes))
    assert effects == STORMS
    assert_every_invariant_holds()


def test_a_refusal_is_stored_once_and_told_to_all() -> None:
    member = Member()
    member.earns(5)
    key = idempotency_key()
    mine = {"client_id": member.client_id, "account_number": member.number}

    answers = together([lambda: answer_to(SpendFactory(**mine, idempotency_key=key, points=6))] * SENDERS)

    assert {(answer.code, answer.detail) for answer in answers} == {
        ("insufficient_points", "5 points are available.")
    }
    assert [answer.is_replayed for answer in answers].count(False) == 1
    assert len({answer.operation_id for answer in answers}) == 1
    member.earns(10)
    assert answer_to(SpendFactory(**mine, idempotency_key=key, points=6)).is_replayed
    assert member.available == 15
