"""What is owed: every point that is left, once, by its age and by the month in which it expires."""

from datetime import date, datetime, timedelta

import pytest

from ledger import clock, face
from pointsystem.backoffice.finance import calendar
from pointsystem.backoffice.finance.liability import OLDEST_MONTHS, Liability, liability
from tests.factories import ReasonFactory
from tests.ledger.member import Member, days_later


def owed(day: date | None = None) -> Liability:
    return liability(day=day, now=clock.now())


def ages(found: Liability) -> dict[int, tuple[int, int]]:
    return {each.months: (each.lots, each.points) for each in found.ages}


def expiries(found: Liability) -> dict[str, int]:
    return {f"{each.month:%Y-%m}" if each.month else "never": each.points for each in found.expiries}


def test_nothing_is_owed_by_an_empty_ledger(noon: datetime) -> None:
    found = owed()

    assert (found.ages, found.expiries, found.in_lots, found.closing) == ([], [], 0, 0)
    assert found.ties


def test_points_are_told_by_whole_months_since_they_were_earned(member: Member) -> None:
    ReasonFactory(code="EVER", policy__validity_days=None)
    member.earns(1, reason="EVER")
    days_later(31)  # 1 April: one month, to the hour
    member.earns(20, reason="EVER")
    days_later(29)  # 30 April: not yet a month
    member.earns(300, reason="EVER")

    assert ages(owed()) == {0: (2, 320), 1: (1, 1)}
    days_later(365 * 4)
    assert ages(owed()) == {OLDEST_MONTHS: (3, 321)}


def test_points_are_told_by_the_month_in_which_they_expire(member: Member) -> None:
    ReasonFactory(code="EVER", policy__validity_days=None)
    ReasonFactory(code="MONTH", policy__validity_days=30)
    member.earns(10, reason="MONTH")  # until 31 March
    days_later(1)
    member.earns(20, reason="MONTH")  # until 1 April
    member.earns(40, reason="EVER")
    member.spends(5)

    found = owed()

    assert expiries(found) == {"2026-03": 5, "2026-04": 20, "never": 40}
    assert (found.live.points, found.live.lots) == (65, 3)


def test_the_month_of_expiry_is_one_of_the_programme(member: Member) -> None:
    # 15:00 in UTC on 31 March is midnight of 1 April in Seoul.
    member.earns(10, expires_at=datetime.fromisoformat("2026-03-31T15:00:00+00:00"))

    assert expiries(owed()) == {"2026-04": 10}


def test_what_lapsed_is_owed_no_more_though_nobody_wrote_it_down(member: Member) -> None:
    ReasonFactory(code="SHORT", policy__validity_days=10)
    member.earns(100, reason="SHORT")
    days_later(11)

    found = owed()
    assert (found.live.points, found.lapsed.points, found.lapsed.lots, found.in_lots) == (0, 100, 1, 100)
    assert found.ties

    face.expire_points()
    assert (owed().lapsed.points, owed().in_lots, owed().closing) == (0, 0, 0)


def test_an_earlier_day_is_told_as_it_was(member: Member) -> None:
    member.earns(100)
    member.spends(30)
    days_later(1)
    member.earns(7)
    member.spends(20)
    days_later(40)
    member.spends(57)

    first = owed(date(2026, 3, 1))
    assert (first.live.points, first.closing, first.ties) == (70, 70, True)
    assert first.at == calendar.start_of(date(2026, 3, 2))
    assert ages(first) == {0: (1, 70)}
    assert (owed(date(2026, 3, 2)).in_lots, owed(date(2026, 4, 1)).in_lots) == (57, 57)
    assert (owed().in_lots, owed().ties) == (0, True)
    assert owed(date(2026, 2, 28)).in_lots == 0


def test_a_day_of_which_the_last_instant_counts(member: Member) -> None:
    clock.set_simulated(instant=datetime.fromisoformat("2026-03-10T23:59:59.999999+09:00"))
    member.earns(1)
    clock.set_simulated(instant=datetime.fromisoformat("2026-03-11T00:00:00+09:00"))
    member.earns(10)
    days_later(3)

    assert owed(date(2026, 3, 10)).in_lots == 1
    assert owed(date(2026, 3, 11)).in_lots == 11


def test_the_real_clock_looks_back_too(committed_db: None, settings: object) -> None:
    settings.POINTS_CLOCK = "system"  # type: ignore[attr-defined]
    member = Member()
    before = owed().in_lots
    member.earns(25)
    now = owed()

    assert (now.in_lots - before, now.ties) == (25, True)
    yesterday = liability(day=(now.at - timedelta(days=1)).date(), now=now.at)
    assert yesterday.ties


@pytest.mark.parametrize("text", ["2026-03-32", "yesterday", "2026-03-02", "1969-12-31", "2026-3-1", "\0"])
def test_what_is_no_day_up_to_today_is_refused(text: str, noon: datetime) -> None:
    with pytest.raises(calendar.DateRefused):
        calendar.day_from(text, now=noon)
