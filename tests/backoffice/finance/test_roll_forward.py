"""Opening and all that moved make the closing, and the closing is what remains in the lots."""

from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger import clock, face
from ledger.errors import Refusal
from ledger.models import EntryKind, OpenLot, Reason
from ledger.records import OperationRecord
from pointsystem.backoffice.finance import calendar, months
from pointsystem.backoffice.finance.models import MonthSum
from pointsystem.backoffice.finance.roll_forward import Line, Month, month_by_reason, roll_forward
from tests.factories import ReasonFactory
from tests.ledger.member import Member, days_later

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)


def moved(line: Line) -> dict[str, int]:
    return {
        str(kind.value): points for kind, points in zip(EntryKind, _in_order(line), strict=True) if points
    }


def _in_order(line: Line) -> list[int]:
    return [line.moved.get(kind, 0) for kind in EntryKind]


def of_month(month: date) -> Month:
    return month_by_reason(month=month, now=clock.now())


def test_a_quarter_of_a_member(member: Member) -> None:
    other = Member(client_id=member.client_id)
    member.earns(1_000)
    spent = member.spends(300)
    member.cancels(spent, 100)
    days_later(31)
    earned = member.earns(200, reason="REVIEW")
    member.cancels(earned, 50)
    member.gives(120, to=other)
    member.is_adjusted(-30)
    days_later(30)
    member.spends(10)

    found = roll_forward(now=clock.now())

    march, april, may = found.months
    assert (march.opening, moved(march), march.closing) == (
        0,
        {"earn": 1_000, "spend": -300, "spend_cancel": 100},
        800,
    )
    assert (april.opening, moved(april), april.closing) == (
        800,
        {"earn": 200, "earn_cancel": -50, "transfer_out": -120, "transfer_in": 120, "adjust": -30},
        920,
    )
    assert (may.opening, moved(may), may.closing) == (920, {"spend": -10}, 910)
    assert found.ties
    assert found.check.in_lots == found.balances == member.available + other.available == 910


def test_each_reason_closes_with_what_remains_in_its_lots(member: Member) -> None:
    member.earns(100, reason="ORDER_REWARD")
    days_later(1)
    member.earns(50, reason="REVIEW")
    member.spends(120)

    found = of_month(MARCH)

    # The lot that expires first was taken whole, and the rest from the other one.
    assert [(line.reason, line.opening, line.closing) for line in found.reasons] == [
        ("ORDER_REWARD", 0, 0),
        ("REVIEW", 0, 30),
    ]
    assert [(check.reason, check.closing, check.in_lots) for check in found.checks] == [
        ("", 30, 30),
        ("ORDER_REWARD", 0, 0),
        ("REVIEW", 30, 30),
    ]
    assert found.ties
    assert not found.is_over


def test_points_that_expire_and_come_back_expired_are_both_seen(member: Member) -> None:
    ReasonFactory(code="SHORT", policy__validity_days=10, policy__restore="original")
    member.earns(100, reason="SHORT")
    spent = member.spends(40)
    days_later(40)
    face.expire_points()
    member.cancels(spent)

    (march, april) = roll_forward(now=clock.now()).months

    assert moved(march) == {"earn": 100, "spend": -40}
    assert moved(april) == {"spend_cancel": 40, "expire": -100}
    assert april.closing == 0
    assert of_month(APRIL).ties
    assert of_month(MARCH).ties


def test_a_closed_month_stays_closed_whatever_comes_later(member: Member) -> None:
    member.earns(500)
    member.spends(100)
    days_later(31)
    before = of_month(MARCH)
    member.spends(400)
    member.earns(70)
    days_later(31)

    after = of_month(MARCH)

    assert (before.total, before.reasons, before.is_over) == (after.total, after.reasons, after.is_over)
    assert [(check.closing, check.in_lots) for check in after.checks] == [(400, 400), (400, 400)]
    assert after.is_over


def test_months_in_which_nothing_moved_are_there(member: Member) -> None:
    member.earns(10)
    days_later(62)

    found = roll_forward(now=clock.now()).months

    assert [(line.month, line.opening, line.closing) for line in found] == [
        (MARCH, 0, 10),
        (APRIL, 10, 10),
        (MAY, 10, 10),
    ]


def test_a_sum_that_is_wrong_is_said_to_be_wrong(member: Member) -> None:
    member.earns(10)
    months.bring_forward(margin=timedelta(0))
    MonthSum.objects.update(points=12)

    found = roll_forward(now=clock.now())

    assert not found.ties
    assert (found.check.closing, found.check.in_lots, found.balances) == (12, 10, 10)
    assert not of_month(MARCH).ties


def test_a_lot_that_lost_points_without_an_entry_is_said_to_be_wrong(member: Member) -> None:
    member.earns(10)
    days_later(31)
    OpenLot.objects.filter(account__account_number=member.number).update(remaining=9)

    assert not roll_forward(now=clock.now()).ties
    assert [(each.closing, each.in_lots) for each in of_month(MARCH).checks] == [(10, 9), (10, 9)]


def test_without_any_entry_there_is_no_month(noon: datetime) -> None:
    found = roll_forward(now=noon)

    assert list(found.months) == []
    assert found.ties
    assert of_month(MARCH).ties


steps = st.lists(
    st.tuples(
        st.sampled_from(["earn", "review", "spend", "cancel", "give", "adjust", "expire", "sum", "wait"]),
        st.integers(1, 60),
    ),
    min_size=3,
    max_size=14,
)


class Story:
    """What may happen to two members, with refusals left as they are."""

    def __init__(self) -> None:
        self.one = Member()
        self.two = Member(client_id=self.one.client_id)
        self.done: list[OperationRecord] = []

    def goes_on(self, what: str, number: int) -> None:
        one = self.one
        acts: dict[str, Any] = {
            "earn": lambda: self.done.append(one.earns(number * 10)),
            "review": lambda: self.done.append(one.earns(number, reason="REVIEW")),
            "spend": lambda: self.done.append(one.spends(number * 3)),
            "cancel": lambda: one.cancels(self.done[number % len(self.done)], number) if self.done else None,
            "give": lambda: one.gives(number, to=self.two),
            "adjust": lambda: one.is_adjusted(number if number % 2 else -number),
            "expire": lambda: face.expire_points(),
            "sum": lambda: months.bring_forward(margin=timedelta(0)),
            "wait": lambda: days_later(number),
        }
        with suppress(Refusal):
            acts[what]()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=steps)
def test_every_month_of_any_story_ties_to_the_lots(noon: datetime, told: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        story = Story()
        for what, number in told:
            story.goes_on(what, number)
        found = roll_forward(now=clock.now())
        assert found.ties
        for line in found.months:
            one = month_by_reason(month=line.month, now=clock.now())
            assert one.ties
            assert one.total == line
        transaction.set_rollback(True)


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "march", "2026-3", "2026-04", "0000-01", "٢٠٢٦-٠٣"])
def test_what_is_no_month_up_to_now_is_refused(text: str, noon: datetime) -> None:
    with pytest.raises(calendar.DateRefused):
        calendar.month_from(text, now=noon)


def test_a_month_up_to_now_is_accepted(noon: datetime) -> None:
    assert calendar.month_from("2026-03", now=noon) == MARCH
    assert calendar.months_between(date(2025, 11, 1), date(2026, 2, 1)) == [
        date(2025, 11, 1),
        date(2025, 12, 1),
        date(2026, 1, 1),
        date(2026, 2, 1),
    ]


def test_reasons_are_known_by_their_code(member: Member) -> None:
    member.earns(10)

    assert {line.reason for line in of_month(MARCH).reasons} <= set(
        Reason.objects.values_list("code", flat=True)
    )
