from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ledger import queries
from ledger.errors import OperationNotFound, ValidationRefused
from tests.factories import ClientFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of


def walk(read: Any, **values: Any) -> tuple[list[Any], list[Any]]:
    """All rows by following `next`, and all rows again by following `previous` from the end."""
    pages = [read(**values)]
    while pages[-1].next:
        pages.append(read(**values, cursor=pages[-1].next))
    forwards = [row for page in pages for row in page.data]
    back = [pages[-1]]
    while back[-1].previous:
        back.append(read(**values, cursor=back[-1].previous))
    backwards = [row for page in reversed(back) for row in page.data]
    return forwards, backwards


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 200])
def test_history_pages_forwards_and_backwards(member: Member, page_size: int) -> None:
    for points in range(1, 7):
        member.earns(points)
    member.spends(3)

    forwards, backwards = walk(queries.history_page, account_number=member.number, page_size=page_size)

    assert [line.points for line in forwards] == [-3, 6, 5, 4, 3, 2, 1]
    assert [line.balance_after for line in forwards] == [18, 21, 15, 10, 6, 3, 1]
    assert backwards == forwards


@pytest.mark.parametrize("page_size", [1, 2, 3, 200])
@pytest.mark.parametrize("state", ["live", "all"])
def test_lots_page_in_spending_order_with_never_last(member: Member, page_size: int, state: str) -> None:
    member.earns(1, expires_at=None)
    member.earns(2, expires_at=NOON + timedelta(days=9))
    member.earns(3, expires_at=NOON + timedelta(days=5))
    member.earns(4, expires_at=None)
    member.earns(5, expires_at=NOON + timedelta(days=1))
    member.earns(6, expires_at=NOON + timedelta(days=5))
    member.spends(6)
    days_later(0)

    forwards, backwards = walk(
        queries.lots_page, account_number=member.number, state=state, page_size=page_size
    )

    expected = [(3, 2), (6, 6), (2, 2), (1, 1), (4, 4)]
    assert [(lot.points, lot.remaining) for lot in forwards] == (
        expected if state == "live" else [(5, 0), *expected]
    )
    assert backwards == forwards


def test_a_lapsed_lot_is_not_live_and_has_nothing_left(member: Member) -> None:
    member.earns(5, expires_at=NOON + timedelta(days=1))
    days_later(1)

    assert member.lots == []
    assert member.all_lots == [(5, 0)]


def test_a_page_that_was_read_stays_where_it_was_while_entries_are_added(member: Member) -> None:
    for points in (1, 2, 3, 4):
        member.earns(points)
    first = queries.history_page(account_number=member.number, page_size=2)
    member.earns(5)

    second = queries.history_page(account_number=member.number, page_size=2, cursor=first.next)
    newest = queries.history_page(account_number=member.number, page_size=2, cursor=second.previous)

    assert [line.points for line in first.data] == [4, 3]
    assert [line.points for line in second.data] == [2, 1]
    assert [line.points for line in newest.data] == [4, 3]
    assert newest.previous is not None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "====",
        "bnw=",
        "bnwxfDI",
        "bnwtMQ",
        "bnzZog",
        "bnxhYmM",
        "é",
        "n" * 5000,
        "bnw5OTk5OTk5OTk5OTk5OTk5OTk5OTk",
    ],
)
@pytest.mark.parametrize("read", [queries.history_page, queries.lots_page])
def test_a_cursor_that_was_made_up_is_refused(member: Member, read: Any, cursor: str) -> None:
    refusal = refusal_of(read, account_number=member.number, cursor=cursor)

    assert isinstance(refusal, ValidationRefused)
    assert refusal.field == "cursor"


def test_operations_are_found_by_reference_by_their_own_client(member: Member) -> None:
    first = member.earns(1, reference="order-77")
    second = member.spends(1, reference="order-77")
    member.earns(1, reference="order-78")
    stranger = ClientFactory()

    def read(client_id: int, any_client: bool = False) -> list[Any]:
        forwards, backwards = walk(
            queries.operations_by_reference,
            client_id=client_id,
            any_client=any_client,
            reference="order-77",
            page_size=1,
        )
        assert backwards == forwards
        return [record.id for record in forwards]

    assert read(member.client_id) == [first.id, second.id]
    assert read(stranger.id) == []
    assert read(stranger.id, any_client=True) == [first.id, second.id]


def test_an_operation_is_found_by_its_own_client_or_with_the_scope(member: Member) -> None:
    earned = member.earns(1)
    stranger = ClientFactory().id

    found = queries.find_operation(operation_id=earned.id, client_id=member.client_id, any_client=False)
    foreign = refusal_of(queries.find_operation, operation_id=earned.id, client_id=stranger, any_client=False)
    unknown = refusal_of(queries.find_operation, operation_id=uuid4(), client_id=stranger, any_client=False)

    assert found == earned
    assert isinstance(foreign, OperationNotFound)
    assert foreign.to_json() == unknown.to_json()


def test_a_preview_takes_the_lots_that_the_spend_then_takes(member: Member) -> None:
    member.earns(5, expires_at=NOON + timedelta(days=9))
    member.earns(5, expires_at=NOON + timedelta(days=1))
    before = member.history

    preview = queries.spend_preview(account_number=member.number, points=7)

    assert (preview.available, preview.available_after) == (10, 3)
    assert member.history == before
    assert list(preview.lots) == list(member.spends(7).lots or [])
