"""Proving and rebuilding go on beside live traffic, and neither stops the other."""

import threading
from functools import partial

import pytest
from django.db import connection

from ledger import projections
from ledger.verification import Report, verify
from tests.factories import EarnFactory, SpendFactory
from tests.ledger.concurrency.together import (
    answer_to,
    assert_every_invariant_holds,
    codes,
    patiently,
    together,
)
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")


def test_a_ledger_in_full_work_is_proved_and_rebuilt() -> None:
    members = [Member() for _ in range(6)]
    is_over = threading.Event()

    def trade(member: Member) -> list[object]:
        mine = {"client_id": member.client_id, "account_number": member.number}
        answers = []
        while not is_over.is_set():
            answers.append(answer_to(EarnFactory(**mine, points=5)))
            answers.append(answer_to(SpendFactory(**mine, points=4)))
        return answers

    def prove_and_rebuild() -> list[Report]:
        try:
            reports = []
            for _ in range(4):
                reports.append(verify(guards=False, cache=False))
                run = patiently(projections.rebuild)
                assert (run.changed, run.impossible) == (0, 0)
            return reports
        finally:
            is_over.set()

    *answers, reports = together(
        [lambda member=member: trade(member) for member in members] + [prove_and_rebuild]
    )

    assert [breach.sentence() for report in reports for breach in report.breaches] == []
    assert [codes(traded).keys() for traded in answers] == [{"done": 1}.keys()] * 6
    # The traffic went on while each snapshot stood still: every one saw more of it.
    seen = [report.figures["entries"] for report in reports]
    assert seen == sorted(set(seen))
    assert_every_invariant_holds()


def test_a_damaged_account_is_put_right_under_its_owner() -> None:
    """Whoever trades meanwhile waits for the lock, and goes on from the right numbers."""
    member = Member()
    member.earns(1000)
    mine = {"client_id": member.client_id, "account_number": member.number}

    def damage() -> None:
        with connection.cursor() as cursor:
            # Nothing is decided on this number before its instant: a spend is decided on the lots.
            cursor.execute(
                "UPDATE ledger_account SET next_expiry_at = opened_at + interval '400 days'"
                " WHERE account_number = %s",
                [member.number],
            )

    def damage_and_rebuild() -> list[object]:
        for _ in range(10):
            patiently(damage)
            patiently(partial(projections.rebuild, account_number=member.number))
        return []

    together(
        [damage_and_rebuild, *[lambda: [answer_to(SpendFactory(**mine, points=1)) for _ in range(20)]] * 4]
    )

    assert member.available == 1000 - 80
    assert_every_invariant_holds()
