"""Earning, spending and cancelling through the procedures, on both servers, with exact values."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest


def test_a_members_story(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, points_of, refused, seoul, stand_at

    member = Member(reference)
    stand_at("2026-01-10 09:00")
    order = member.earn(300, reference="order-1")
    assert (order.points, order.balance_after) == (300, 300)
    assert order.recorded_at == seoul("2026-01-10 09:00")
    assert order.shares is not None
    assert order.shares[0].expires_at == seoul("2027-01-11 00:00")

    stand_at("2026-02-01 00:00")
    event = member.earn(100, reason="EVENT", until="2026-03-01 00:00")
    assert event.balance_after == 400

    # The order's lot was saved first, so it is taken first, although the event's lapses sooner.
    stand_at("2026-02-10 10:30:00.123456")
    spend = member.spend(350, reference="order-2")
    assert spend.balance_after == 50
    assert spend.recorded_at == seoul("2026-02-10 10:30:00.123456")
    assert points_of(spend) == [300, 50]
    assert [share.lot_id for share in spend.shares or ()] == [
        order.shares[0].lot_id,
        (event.shares or ())[0].lot_id,
    ]

    # Given back in the reverse order of taking.
    back = member.cancel_spend(spend, 120)
    assert (points_of(back), back.balance_after) == ([50, 70], 170)
    assert member.remaining == [70, 100]
    assert refused(member.cancel_earn, order, 71) is not None
    member.cancel_earn(order, 70)
    assert member.remaining == [0, 100]

    # After the event's points have lapsed, 230 more come back: all of them into the order's lot.
    stand_at("2026-03-05 12:00")
    assert member.available == 0
    assert member.cancel_spend(spend, 230).balance_after == 230
    assert member.story == [
        ("earn", 300, 300),
        ("earn", 100, 400),
        ("spend", -350, 50),
        ("spend_cancel", 120, 170),
        ("earn_cancel", -70, 100),
        ("spend_cancel", 230, 230),
    ]


def test_a_spend_takes_what_was_earned_first(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, points_of, stand_at

    member = Member(reference)
    stand_at("2026-01-02 00:00")
    member.earn(10, until=None)
    # Entered later for an earlier day: the time of saving counts, not the number.
    stand_at("2026-01-01 00:00")
    member.earn(20, until="2026-12-01 00:00")
    stand_at("2026-01-03 00:00")
    member.earn(30, until="2026-02-01 00:00")

    spend = member.spend(35)

    assert points_of(spend) == [20, 10, 5]
    assert [lot.points for lot in member.lots()] == [30]
    assert [(lot.points, lot.remaining) for lot in member.lots(with_ended=True)] == [
        (20, 0),
        (10, 0),
        (30, 25),
    ]


@pytest.mark.parametrize("reason", ["ORDER_REWARD", "GIFT_CARD", "CORRECTION"])
def test_an_earn_without_an_expiry_gets_that_of_its_type(reference: Any, reason: str) -> None:
    from tests.legacy_bridge.reference.member import Member, seoul, stand_at

    member = Member(reference)
    stand_at("2023-12-31 23:59:59.999999")

    (share,) = member.earn(5, reason=reason).shares or ()

    # 2024 has 366 days.
    assert share.expires_at == (None if reason == "GIFT_CARD" else seoul("2024-12-31 00:00"))
    assert member.lots()[0].reason == reason


def test_refusals_leave_no_trace(reference: Any) -> None:
    from legacy_bridge.errors import RefusedFact
    from tests.legacy_bridge.reference.member import Member, refused

    member = Member(reference)
    earn = member.earn(100)
    spend = member.spend(40)
    cancel = member.cancel_spend(spend, 10)
    other = Member(reference)
    other.earn(1)
    before = member.trace(), other.trace()

    assert refused(member.spend, 71) is RefusedFact.INSUFFICIENT_POINTS
    assert refused(member.cancel_earn, earn, 71) is RefusedFact.EARN_ALREADY_SPENT
    assert refused(member.cancel_earn, earn, 101) is RefusedFact.NOT_CANCELLABLE
    assert refused(member.cancel_spend, spend, 31) is RefusedFact.NOT_CANCELLABLE
    assert refused(member.cancel_spend, cancel, 10) is RefusedFact.NOT_CANCELLABLE
    assert refused(member.cancel_earn, spend, 1) is RefusedFact.NOT_CANCELLABLE
    assert refused(other.cancel_spend, spend, 1) is RefusedFact.NOT_CANCELLABLE
    assert refused(Member(reference).cancel_earn, earn, 1) is RefusedFact.NOT_CANCELLABLE

    assert (member.trace(), other.trace()) == before


def test_cancels_in_parts_never_give_more_than_was_taken(reference: Any) -> None:
    from legacy_bridge.errors import RefusedFact
    from tests.legacy_bridge.reference.member import Member, points_of, refused

    member = Member(reference)
    for points in (10, 20, 30):
        earn = member.earn(points)
    spend = member.spend(55)
    assert points_of(spend) == [10, 20, 25]

    assert [points_of(member.cancel_spend(spend, points)) for points in (7, 20, 3, 20)] == [
        [7],
        [18, 2],
        [3],
        [15, 5],
    ]
    assert refused(member.cancel_spend, spend, 6) is RefusedFact.NOT_CANCELLABLE
    assert points_of(member.cancel_spend(spend, 5)) == [5]
    assert refused(member.cancel_spend, spend, 1) is RefusedFact.NOT_CANCELLABLE
    assert member.remaining == [10, 20, 30]

    assert [member.cancel_earn(earn, points).balance_after for points in (10, 15, 5)] == [50, 35, 30]
    assert refused(member.cancel_earn, earn, 1) is RefusedFact.NOT_CANCELLABLE
    assert member.remaining == [10, 20, 0]


def test_the_same_request_id_is_done_once(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member

    member = Member(reference)
    ids = [uuid4() for _ in range(4)]
    first_earn = member.earn(100, operation_id=ids[0])
    first_spend = member.spend(100, operation_id=ids[1])
    first_back = member.cancel_spend(first_spend, 60, operation_id=ids[2])
    first_taken = member.cancel_earn(first_earn, 60, operation_id=ids[3])
    before = member.trace()

    # The retry of the spend that emptied the account is answered, not refused.
    assert member.spend(100, operation_id=ids[1]) == first_spend
    assert member.earn(100, operation_id=ids[0]) == first_earn
    assert member.cancel_spend(first_spend, 60, operation_id=ids[2]) == first_back
    assert member.cancel_earn(first_earn, 60, operation_id=ids[3]) == first_taken
    assert member.trace() == before


def test_a_request_id_of_something_else_is_not_done(reference: Any) -> None:
    from legacy_bridge.errors import NotDone
    from tests.legacy_bridge.reference.member import Member

    member, other = Member(reference), Member(reference)
    operation_id = uuid4()
    member.earn(100, operation_id=operation_id)
    other.earn(100)
    before = member.trace(), other.trace()

    for call in (member.spend, other.spend, other.earn):
        with pytest.raises(NotDone, match="E07"):
            call(100, operation_id=operation_id)
    assert (member.trace(), other.trace()) == before


def test_blocked_members_get_and_spend_nothing_but_cancel(reference: Any) -> None:
    from legacy_bridge.errors import RefusedFact
    from tests.legacy_bridge.reference.member import Member, refused, run_query

    member = Member(reference)
    spend_of = member.earn(100) and member.spend(30)
    run_query(f"UPDATE {reference.schema}PT_MBR SET STAT_CD = 'B' WHERE MBR_NO = %s", [member.number])

    assert refused(member.earn, 1) is RefusedFact.ACCOUNT_BLOCKED
    assert refused(member.spend, 1) is RefusedFact.ACCOUNT_BLOCKED
    assert member.cancel_spend(spend_of, 30).balance_after == 100


def test_what_the_legacy_cannot_hold_is_not_given_to_it(reference: Any) -> None:
    from legacy_bridge.errors import NotRepresentable, RefusedFact
    from tests.legacy_bridge.reference.member import Member, refused

    long = Member(reference, "M" * 21)
    with pytest.raises(NotRepresentable):
        long.earn(1)
    with pytest.raises(NotRepresentable):
        Member(reference).earn(1, reason="NOT_KNOWN_THERE")
    with pytest.raises(NotRepresentable):
        Member(reference).earn(1, reference="r" * 65)
    assert refused(long.spend, 1) is RefusedFact.INSUFFICIENT_POINTS
    assert (long.available, long.history(), long.lots()) == (0, [], [])


def test_keys_are_padded_and_come_back_without_blanks(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, run_query

    lower, upper, korean = (
        Member(reference, "abc"),
        Member(reference, "ABC"),
        Member(reference, "회원-" + "가" * 17),
    )
    lower.earn(1, reference="r" * 64)
    upper.earn(2)
    korean.earn(1_000_000_000)

    assert [member.available for member in (lower, upper, korean)] == [1, 2, 1_000_000_000]
    (row,) = korean.history()
    assert row.account_number == korean.number
    ((kept,),) = run_query(
        f"SELECT CHAR_LENGTH(CONCAT(MBR_NO, '|')) FROM {reference.schema}PT_MBR WHERE MBR_NO = 'abc'"
    )
    # MariaDB cuts the blanks of a CHAR column when it is read; the key is padded all the same.
    assert kept in (4, 21)
    assert Member(reference, "abc ").available == 0
