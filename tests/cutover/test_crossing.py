"""A client that reads page after page, and one that remembers ids, do not notice a switch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cutover import face, routes
from cutover.mirroring import worker
from ledger.errors import ValidationRefused
from tests.cutover import sides
from tests.cutover.conftest import set_stage
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


def move(stage: str) -> None:
    worker.run(budget_seconds=5)
    set_stage(stage)
    worker.run(budget_seconds=5)
    routes.forget_hints()


@pytest.fixture
def number(legacy_only: Any) -> str:
    """An account with operations that each side decided."""
    given = {"client_id": ClientFactory().id, "account_number": account_number()}
    set_stage("LEGACY_FIRST")
    for points in (100, 200):
        face.execute(EarnFactory(**given, points=points))
    face.execute(SpendFactory(**given, points=120))
    move("NEW_FIRST")
    face.execute(EarnFactory(**given, points=300))
    spend = face.execute(SpendFactory(**given, points=150)).operation
    face.execute(CancelFactory(client_id=given["client_id"], cancelled_operation_id=spend.id, points=50))
    worker.run(budget_seconds=5)
    sides.assert_equal(given["account_number"])
    return str(given["account_number"])


def whole(number: str) -> list[Any]:
    return list(face.history_page(account_number=number, page_size=200).data)


def facts(lines: list[Any]) -> list[tuple[Any, ...]]:
    return [(line.id, line.operation_id, line.kind, line.points, line.reason) for line in lines]


def test_the_history_is_the_same_on_both_sides(number: str) -> None:
    by_ledger = facts(whole(number))
    move("LEGACY_FIRST")

    assert facts(whole(number)) == by_ledger
    assert len(by_ledger) == 6


def test_lots_keep_their_ids(number: str) -> None:
    by_ledger = {lot.id: (lot.remaining, lot.expires_at) for lot in lots(number)}
    move("LEGACY_FIRST")

    assert {lot.id: (lot.remaining, lot.expires_at) for lot in lots(number)} == by_ledger


def lots(number: str) -> list[Any]:
    return list(face.lots_page(account_number=number, page_size=200).data)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("at", [1, 2])
def test_history_is_read_on_across_switches(number: str, size: int, at: int) -> None:
    expected = facts(whole(number))
    read, cursor, page = [], None, 0
    while True:
        if page == at:
            move("LEGACY_FIRST" if not routes.current().legacy_decides else "NEW_FIRST")
        if page == at + 1:
            move("NEW_FIRST" if routes.current().legacy_decides else "LEGACY_FIRST")
        found = face.history_page(account_number=number, cursor=cursor, page_size=size)
        read += found.data
        page, cursor = page + 1, found.next
        if cursor is None:
            break

    assert facts(read) == expected
    back = face.history_page(account_number=number, cursor=None, page_size=size)
    move("LEGACY_FIRST" if not routes.current().legacy_decides else "NEW_FIRST")
    if back.next:
        second = face.history_page(account_number=number, cursor=back.next, page_size=size)
        move("LEGACY_FIRST" if not routes.current().legacy_decides else "NEW_FIRST")
        again = face.history_page(account_number=number, cursor=second.previous, page_size=size)
        assert facts(list(again.data)) == facts(list(back.data))


def test_lots_are_read_on_across_a_switch(number: str) -> None:
    expected = {lot.id for lot in lots(number)}
    first = face.lots_page(account_number=number, page_size=1)
    move("LEGACY_FIRST")
    second = face.lots_page(account_number=number, cursor=first.next, page_size=1)
    move("NEW_FIRST")

    assert {lot.id for lot in [*first.data, *second.data]} == expected


@pytest.mark.parametrize("page", [face.history_page, face.lots_page], ids=["history", "lots"])
@pytest.mark.parametrize("cursor", ["bnw", "bnxhfGJ8Y3xk", "bnwwMDAwMDAwMDAwMDAwMDAwMDAwfHg", "!!"])
@pytest.mark.parametrize("stage", ["LEGACY_FIRST", "NEW_FIRST"])
def test_a_cursor_that_no_side_gave_is_refused(
    number: str, stage: str, cursor: str, page: Callable[..., Any]
) -> None:
    move(stage)
    with pytest.raises(ValidationRefused):
        page(account_number=number, cursor=cursor)
