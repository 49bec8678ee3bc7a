"""What the adapter reads: balances, lots, pages of history, rows for settling and following."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest


def test_a_member_that_was_never_seen(reference: Any) -> None:
    from legacy_bridge.errors import RefusedFact
    from legacy_bridge.records import LegacyBalance
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member, refused

    member = Member(reference)

    assert member.balance() == LegacyBalance(available=0, expiring_points=0)
    assert (member.lots(with_ended=True), member.history()) == ([], [])
    assert refused(member.spend, 1) is RefusedFact.INSUFFICIENT_POINTS
    with session() as opened:
        assert reference.last_row_id(opened, account_number=member.number) is None
    assert member.balance() == LegacyBalance(available=0, expiring_points=0)


def test_a_balance_tells_what_lapses(reference: Any) -> None:
    from legacy_bridge.records import LegacyBalance
    from tests.legacy_bridge.reference.member import Member, seoul, stand_at

    member = Member(reference)
    stand_at("2026-03-01 00:00")
    member.earn(1, until=None)
    assert member.balance() == LegacyBalance(available=1, expiring_points=0)
    member.earn(20, until="2026-04-01 00:00")
    member.earn(300, until="2026-03-15 00:00")
    member.earn(4000, until="2026-03-15 00:00")

    assert member.balance(before="2026-04-01 00:00") == LegacyBalance(
        available=4321, expiring_points=4300, next_expiry=(seoul("2026-03-15 00:00"), 4300)
    )
    # A lot is there until the instant at which it lapses, and not at it.
    stand_at("2026-03-14 23:59:59.999999")
    assert member.available == 4321
    stand_at("2026-03-15 00:00")
    assert member.balance(before="2026-04-01 00:00") == LegacyBalance(
        available=21, expiring_points=0, next_expiry=(seoul("2026-04-01 00:00"), 20)
    )


def test_pages_of_history(reference: Any) -> None:
    from legacy_bridge.records import RowKind
    from tests.legacy_bridge.reference.member import Member, points_of, seoul, stand_at

    member, operation_id = Member(reference), uuid4()
    stand_at("2026-03-01 08:00")
    earn = member.earn(100, reference="order-1", operation_id=operation_id, reason="REVIEW")
    for points in (1, 2, 3):
        spend = member.spend(points, reference=f"order-1{points}")
    cancel = member.cancel_spend(spend, 2)

    pages, before = [], None
    while page := member.history(before=before, limit=2):
        pages.append([row.points for row in page])
        before = page[-1].row_id
    assert pages == [[2, -3], [-2, -1], [100]]

    newest, oldest = member.history(limit=1)[0], member.history()[-1]
    assert (newest.row_id, newest.cancels_row_id) == (cancel.row_id, spend.row_id)
    assert (newest.kind, newest.procedure, newest.caller) == (
        RowKind.SPEND_CANCEL,
        "PR_POINT_USE_CANCEL",
        "POINTAPI",
    )
    assert newest.shares == cancel.shares
    assert points_of(cancel) == [2]
    assert (oldest.row_id, oldest.operation_id, oldest.reason) == (earn.row_id, operation_id, "REVIEW")
    assert (oldest.reference, oldest.recorded_at) == ("order-1", seoul("2026-03-01 08:00"))


def test_rows_are_followed_found_by_reference_and_by_id(reference: Any) -> None:
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    first, second = Member(reference), Member(reference)
    number = f"order-{uuid4()}"
    start = first.earn(10)
    earn = second.earn(20, reference=number)
    spend = second.spend(5, reference=number)
    second.cancel_spend(spend, 5)
    last = first.spend(10)

    with session() as opened:
        rows = reference.rows_after(opened, row_id=start.row_id, limit=3)
        assert [row.points for row in rows] == [20, -5, 5]
        assert [row.account_number for row in rows] == [second.number] * 3
        (own,) = reference.rows_after(opened, row_id=start.row_id, limit=10, account_number=first.number)
        assert own.row_id == last.row_id
        found = reference.rows_by_reference(opened, reference=number, limit=10)
        assert [row.row_id for row in found] == [earn.row_id, spend.row_id]
        assert reference.rows_by_reference(opened, reference=number, limit=1) == found[:1]
        assert reference.rows_by_reference(opened, reference=number.upper(), limit=1) == []
        assert reference.rows_by_reference(opened, reference=f"{number} ", limit=1) == []
        assert [row.row_id for row in reference.rows_by_id(opened, [last.row_id, earn.row_id])] == [
            earn.row_id,
            last.row_id,
        ]
        assert reference.rows_by_id(opened, []) == []
        assert reference.last_row_id(opened, account_number=first.number) == last.row_id


@pytest.mark.parametrize("vendor", ["postgresql", "mariadb"])
def test_the_row_before_a_moment(legacy_database: Any, vendor: str) -> None:
    from legacy_bridge.reference import ReferenceAdapter
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.conftest import install_reference
    from tests.legacy_bridge.reference.member import Member, seoul, stand_at

    # A legacy of its own: of the shared one nobody knows what rows there are.
    legacy_database(vendor)
    install_reference()
    reference = ReferenceAdapter()
    member = Member(reference)
    with session() as opened:
        assert reference.row_before(opened, instant=seoul("2020-01-01 00:00")) is None
    rows = []
    # The second has a later id and an earlier moment: rows are not always in the order of their moments.
    for moment in ("2020-03-01 12:00", "2020-02-01 12:00", "2020-04-01 12:00"):
        stand_at(moment)
        rows.append(member.earn(1).row_id)

    def found(local: str) -> list[str | None]:
        with session() as opened:
            before = reference.row_before(opened, instant=seoul(local))
            return [row.row_id for row in reference.rows_after(opened, row_id=before, limit=10)]

    assert found("2020-03-01 12:00") == rows
    assert found("2020-03-01 12:01") == rows[2:]
    assert found("2020-05-01 00:00") == []
