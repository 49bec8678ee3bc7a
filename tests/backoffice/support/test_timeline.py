"""The timeline tells where every point came from and went to, newest first, in pages."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from ledger import operations
from ledger.errors import InsufficientPoints, ValidationRefused
from ledger.models import Account, AccountStatus
from pointsystem.backoffice.support import account_page, timeline
from pointsystem.backoffice.support import operation_lines as lines_module
from pointsystem.backoffice.support.operation_lines import OperationLine, lot_story, operation_lines
from pointsystem.backoffice.support.timeline import StatusLine, TimelinePage, timeline_page
from tests.ledger.member import Member, refusal_of


def page_of(member: Member, **values: Any) -> TimelinePage:
    account = Account.objects.filter(account_number=member.number).first()
    return timeline_page(account_id=account.id if account else None, account_number=member.number, **values)


def told(page: TimelinePage) -> list[tuple[str, str, int]]:
    return [
        ("status", line.status, 0) if isinstance(line, StatusLine) else (line.kind, line.state, line.points)
        for line in page.lines
    ]


def operation_line(page: TimelinePage, index: int) -> OperationLine:
    line = page.lines[index]
    assert isinstance(line, OperationLine)
    return line


def test_everything_is_told_newest_first(member: Member) -> None:
    earned = member.earns(100, reference="order-1")
    assert isinstance(refusal_of(member.spends, 500), InsufficientPoints)
    operations.change_account_status(
        account_number=member.number, status=AccountStatus.BLOCKED, note="a complaint", actor="kim"
    )
    operations.change_account_status(
        account_number=member.number, status=AccountStatus.OPEN, note="settled", actor="kim"
    )
    member.spends(30)
    member.cancels(earned, 10)

    page = page_of(member)

    assert told(page) == [
        ("earn_cancel", "completed", 10),
        ("spend", "completed", 30),
        ("status", "open", 0),
        ("status", "blocked", 0),
        ("spend", "failed", 500),
        ("earn", "completed", 100),
    ]
    assert page.older is None
    refused = operation_line(page, 4)
    assert refused.refusal == {"code": "insufficient_points", "detail": "100 points are available."}


def test_a_spend_names_the_lots_it_took_and_a_lot_where_it_went(member: Member) -> None:
    first = member.earns(100, reference="order-1")
    member.earns(50, reason="REVIEW")
    spent = member.spends(120, reference="order-2")

    spend, _, earn = (operation_line(page_of(member), index) for index in range(3))

    assert [(move.points, move.granted_reason, move.granted_reference) for move in spend.entries[0].lots] == [
        (-100, "ORDER_REWARD", "order-1"),
        (-20, "REVIEW", None),
    ]
    assert spend.entries[0].lots[0].granted_by == first.id
    made = earn.entries[0]
    assert (made.is_grant, made.remaining) == (True, 0)
    assert [(went.operation_id, went.points, went.reference) for went in made.went] == [
        (spent.id, -100, "order-2")
    ]


def test_pages_go_on_where_the_last_one_ended_while_rows_are_added(member: Member) -> None:
    for points in range(1, 8):
        member.earns(points)
        refusal_of(member.spends, 1000 + points)

    first = page_of(member, rows=5)
    member.earns(99)
    second = page_of(member, rows=5, older_than=first.older)
    third = page_of(member, rows=5, older_than=second.older)

    points = [line[2] for page in (first, second, third) for line in told(page)]
    assert points == [1007, 7, 1006, 6, 1005, 5, 1004, 4, 1003, 3, 1002, 2, 1001, 1]
    assert third.older is None


def test_an_account_that_was_never_opened_shows_what_was_refused(member: Member) -> None:
    refusal_of(member.spends, 10)

    assert told(page_of(member)) == [("spend", "failed", 10)]


@pytest.mark.parametrize("cursor", ["x", "1_2_3", "1_" + "g" * 32 + "_3", "-1_" + "0" * 32 + "_3", "1" * 90])
def test_a_cursor_that_no_page_gave_is_refused(member: Member, cursor: str) -> None:
    with pytest.raises(ValidationRefused):
        page_of(member, older_than=cursor)


def test_a_line_with_many_lots_shows_some_and_the_sum_of_the_others(member: Member) -> None:
    for _ in range(12):
        member.earns(10)
    spent = member.spends(115)

    short = operation_lines(operation_ids=[spent.id], shown=3)[spent.id].entries[0]
    whole = operation_lines(operation_ids=[spent.id], shown=100)[spent.id].entries[0]

    assert ([move.points for move in short.lots], short.other_points) == ([-10, -10, -10], -85)
    assert ([move.points for move in whole.lots], whole.other_points) == ([-10] * 11 + [-5], 0)


def test_a_transfer_shows_each_side_its_own_entry_and_where_the_lot_came_from(member: Member) -> None:
    friend = Member()
    lot = (member.earns(100).lots or [])[0].lot
    member.gives(40, to=friend)

    sent, received = operation_line(page_of(member), 0), operation_line(page_of(friend), 0)

    assert [(entry.kind, entry.points) for entry in sent.entries] == [("transfer_out", -40)]
    assert [(entry.kind, entry.points) for entry in received.entries] == [("transfer_in", 40)]
    story = lot_story(lot_id=lot)
    assert story is not None
    assert [(account, points) for _, account, points in story.derived] == [(friend.number, 40)]


def test_the_story_of_a_lot_accounts_for_every_point(member: Member) -> None:
    earned = member.earns(100)
    spent = member.spends(70)
    member.cancels(spent, 20)
    member.cancels(earned, 15)

    story = lot_story(lot_id=(earned.lots or [])[0].lot)

    assert story is not None
    assert [(move.kind, move.points) for move in story.moves] == [
        ("earn_cancel", -15),
        ("spend_cancel", 20),
        ("spend", -70),
    ]
    assert story.points + sum(move.points for move in story.moves) == story.remaining == 35


def test_a_cancel_that_got_nothing_back_is_told_on_the_earn(member: Member) -> None:
    earned = member.earns(100)
    member.spends(100)
    member.cancels(earned)

    lines = page_of(member).lines
    earn = next(line for line in lines if isinstance(line, OperationLine) and line.kind == "earn")

    assert [(cancel.points, cancel.uncollected_points) for cancel in earn.cancelled_by] == [(100, 100)]
    assert earn.cancellable_points == 0


@pytest.mark.parametrize(
    ("statement", "given", "indexes"),
    [
        (timeline._ENTRIES, [1, 10, 5], ["entry_sequence_is_unique_per_account"]),
        (timeline._UNFINISHED, ["m-1", uuid4(), 5], ["operation_not_completed"]),
        (account_page._UNSETTLED, ["m-1", 5], ["operation_not_completed"]),
        (lines_module._OPERATIONS, [[uuid4()]], ["ledger_operation_pkey"]),
        (lines_module._CANCELS, [[uuid4()]], ["operation_by_cancelled"]),
        (lines_module._LOT_MOVES, [[uuid4()], 5], ["ledger_allocation_pkey", "ledger_lot_pkey"]),
        (
            lines_module._WENT,
            {"lots": [uuid4()], "limit": 5},
            ["ledger_allocation_lot_id", "ledger_entry_pkey"],
        ),
        (lines_module._DERIVED, [uuid4()], ["lot_by_origin"]),
    ],
    ids=["entries", "unfinished", "unsettled", "operations", "cancels", "lots", "went", "derived"],
)
def test_nothing_is_read_without_an_index(db: None, statement: str, given: Any, indexes: list[str]) -> None:
    with connection.cursor() as cursor:
        # What the planner could do at all, whatever statistics say of small tables.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + statement, given)
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert [index for index in indexes if index not in plan] == []
    for table in ("operation", "entry", "allocation", "lot"):
        assert f"Seq Scan on ledger_{table} " not in plan
