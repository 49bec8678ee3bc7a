"""The sums by month are what the entries say: whenever they are read, and whenever entries come."""

import json
from datetime import date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ledger import clock
from pointsystem.backoffice.finance import months
from pointsystem.backoffice.finance.models import MonthsSummed, MonthSum
from pointsystem.backoffice.finance.months import Movement
from tests.ledger.member import Member, days_later

AT_ONCE = timedelta(0)


def moved() -> dict[tuple[str, str], int]:
    return {(f"{each.month:%Y-%m}", each.kind): each.points for each in months.movements()}


def sums() -> list[tuple[date, int, str, int]]:
    return list(
        MonthSum.objects.order_by("month", "reason_id", "kind").values_list(
            "month", "reason_id", "kind", "points"
        )
    )


def test_without_entries_there_is_nothing(noon: datetime) -> None:
    assert months.movements() == []
    assert months.bring_forward(margin=AT_ONCE)
    assert months.movements() == []


def test_entries_are_in_the_month_of_the_programme(member: Member) -> None:
    # 31 March, half past eleven at night in Seoul; an hour later it is April there, and still March in UTC.
    clock.set_simulated(instant=datetime.fromisoformat("2026-03-31T23:30:00+09:00"))
    member.earns(100)
    days_later(1 / 24)
    member.earns(10)

    assert moved() == {("2026-03", "earn"): 100, ("2026-04", "earn"): 10}


def test_what_was_summed_and_what_came_since_are_read_together(member: Member) -> None:
    member.earns(100)
    assert moved() == {("2026-03", "earn"): 100}
    assert sums() == []

    months.bring_forward(margin=AT_ONCE)
    assert [points for *_, points in sums()] == [100]
    assert moved() == {("2026-03", "earn"): 100}

    member.spends(30)
    assert [points for *_, points in sums()] == [100]
    assert moved() == {("2026-03", "earn"): 100, ("2026-03", "spend"): -30}


def test_each_entry_is_summed_once_however_often_sums_are_brought_forward(member: Member) -> None:
    for _ in range(3):
        member.earns(10)
        months.bring_forward(margin=AT_ONCE)
        months.bring_forward(margin=AT_ONCE)

    assert [points for *_, points in sums()] == [30]
    assert months.differences() == []


def test_an_entry_that_comes_late_into_a_month_long_over_is_counted_there(member: Member) -> None:
    member.earns(10)
    days_later(62)
    member.earns(1)
    months.bring_forward(margin=AT_ONCE)

    # A follower posts what the other side recorded two months ago.
    days_later(-62)
    Member(client_id=member.client_id).earns(5)
    days_later(62)

    assert moved() == {("2026-03", "earn"): 15, ("2026-05", "earn"): 1}
    months.bring_forward(margin=AT_ONCE)
    assert [(f"{month:%m}", points) for month, _, _, points in sums()] == [("03", 15), ("05", 1)]


def test_what_may_not_be_committed_yet_is_not_summed(member: Member) -> None:
    member.earns(10)

    months.bring_forward()

    assert sums() == []
    state = MonthsSummed.objects.get()
    assert datetime.now(tz=state.posted_before.tzinfo) - state.posted_before >= months.MARGIN


def test_an_older_transaction_that_is_still_open_holds_the_sums_back(committed_db: None) -> None:
    other = connection.copy("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT now()")
            (opened_at,) = cursor.fetchone()
            ((before,),) = months.rows(months._SETTLED_BEFORE, [0])
            cursor.execute("ROLLBACK")
    finally:
        other.close()

    assert before <= opened_at


def test_another_time_zone_starts_anew(member: Member, settings: object) -> None:
    clock.set_simulated(instant=datetime.fromisoformat("2026-04-01T00:30:00+09:00"))
    member.earns(7)
    months.bring_forward(margin=AT_ONCE)
    assert moved() == {("2026-04", "earn"): 7}

    settings.POINTS_TIME_ZONE = "UTC"  # type: ignore[attr-defined]
    months.bring_forward_if_behind()

    assert moved() == {("2026-03", "earn"): 7}
    assert MonthsSummed.objects.get().zone == "UTC"


class TestTheCommand:
    def test_names_a_sum_that_is_wrong_and_rebuilds_it(self, member: Member) -> None:
        member.earns(10)
        months.bring_forward(margin=AT_ONCE)
        MonthSum.objects.update(points=11)
        said = StringIO()

        with pytest.raises(SystemExit) as ended:
            call_command("sum_months", "--check", "--json", stdout=said)

        assert ended.value.code == 1
        assert json.loads(said.getvalue())["differences"] == [
            {"month": "2026-03", "reason": "ORDER_REWARD", "kind": "earn", "kept": 11, "entries": 10}
        ]
        months.rebuild(margin=AT_ONCE)
        assert [points for *_, points in sums()] == [10]
        assert months.differences() == []

    def test_finds_a_sum_that_is_missing(self, member: Member) -> None:
        member.earns(10)
        months.bring_forward(margin=AT_ONCE)
        MonthSum.objects.all().delete()

        (found,) = months.differences()

        assert (found.kept, found.entries) == (0, 10)

    def test_says_that_all_is_well(self, member: Member) -> None:
        member.earns(10)
        said = StringIO()

        call_command("sum_months", stdout=said)
        call_command("sum_months", "--check", stdout=said)
        call_command("sum_months", "--rebuild", stdout=said)

        assert said.getvalue().splitlines() == [
            "the sums were brought forward",
            "every sum is what the entries say",
            "all sums were taken anew",
        ]
        assert months.movements() == [
            Movement(
                month=date(2026, 3, 1), reason_id=months.movements()[0].reason_id, kind="earn", points=10
            )
        ]

    def test_refuses_both_at_once(self, db: None) -> None:
        with pytest.raises(CommandError):
            call_command("sum_months", "--check", "--rebuild")
