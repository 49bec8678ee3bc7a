"""Many members at once read as one member after the other, on each server, and all of one moment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.sessions import session
from tests.legacy_bridge.reference.member import Member


def lives(adapter: Any) -> list[Member]:
    members = sorted((Member(adapter) for _ in range(3)), key=lambda member: member.number)
    for member in members[:2]:
        member.earn(100)
        member.earn(50, until=None)
        spend = member.spend(120)
        member.cancel_spend(spend, 30)
    return members


def test_rows_lots_and_balances_are_those_of_each_member(reference: Any) -> None:
    numbers = [member.number for member in lives(reference)]
    with session() as opened, opened.snapshot():
        after = dict.fromkeys(numbers)
        rows = reference.rows_of_accounts(opened, after=after, limit=100)
        assert len(rows) == 8
        assert list(rows) == list(LegacyAdapter.rows_of_accounts(reference, opened, after=after, limit=100))
        assert reference.rows_of_accounts(opened, after=after, limit=5) == rows[:5]
        behind = {numbers[0]: rows[2].row_id, numbers[1]: rows[7].row_id}
        assert reference.rows_of_accounts(opened, after=behind, limit=100) == rows[3:4]
        assert reference.lots_of_accounts(opened, account_numbers=numbers) == (
            LegacyAdapter.lots_of_accounts(reference, opened, account_numbers=numbers)
        )
        balances = reference.balances_of_accounts(opened, account_numbers=numbers)
        assert balances == dict(zip(numbers, (60, 60, 0), strict=True))
        # Among those of other tests.
        behind_it = reference.account_numbers(opened, after=numbers[0], limit=10_000)
        assert behind_it == sorted(behind_it)
        assert (numbers[1] in behind_it, numbers[0] in behind_it) == (numbers[1] > numbers[0], False)
        assert reference.account_numbers(opened, after=numbers[0], limit=1) == behind_it[:1]
        assert reference.account_count(opened) >= 2


def test_a_month_adds_up_as_its_rows_do(reference: Any) -> None:
    lives(reference)
    month = datetime.now(UTC).astimezone(ZoneInfo("Asia/Seoul")).date().replace(day=1)
    with session() as opened:
        totals = reference.monthly_totals(opened, month=month)
        by_rows = LegacyAdapter.monthly_totals(reference, opened, month=month)
    key = repr
    assert sorted(totals, key=key) == sorted(by_rows, key=key)
    assert sum(total.rows for total in totals) >= 8


def test_a_snapshot_does_not_see_what_comes_after_it(reference: Any) -> None:
    from tests.cutover.legacy_calls import in_thread

    member = lives(reference)[0]
    with session() as opened, opened.snapshot():
        before = reference.balances_of_accounts(opened, account_numbers=[member.number])
        in_thread(lambda: member.earn(7))()
        assert reference.balances_of_accounts(opened, account_numbers=[member.number]) == before
    with session() as opened:
        assert reference.balances_of_accounts(opened, account_numbers=[member.number]) == {
            member.number: before[member.number] + 7
        }
