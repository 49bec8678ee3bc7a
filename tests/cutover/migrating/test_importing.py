"""An account of the ledger stands where the legacy stands, whatever its history says."""

from __future__ import annotations

from typing import Any

import pytest

from cutover import face
from cutover.migrating import importing
from cutover.models import FollowedAccount, MirrorMessage, Mismatch
from ledger.models import Allocation, Entry, Operation
from ledger.verification import verify
from tests.cutover import sides
from tests.cutover.conftest import begin_epoch, set_stage
from tests.cutover.legacy_calls import call_directly
from tests.cutover.migrating.by_hand import bring, lot, member, row, run
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy")


def entries_of(number: str) -> list[tuple[str, int]]:
    return list(
        Entry.objects.filter(account__account_number=number)
        .order_by("sequence")
        .values_list("kind", "points")
    )


def unexplained(number: str) -> list[tuple[str, Any, Any]]:
    return [
        (found.why, found.said["legacy"], found.said["ledger"])
        for found in Mismatch.objects.filter(account_number=number, found_by="migration").order_by("id")
    ]


def assert_sound() -> None:
    report = verify(examples=3, say=lambda text: None)
    assert [breach.sentence() for breach in report.breaches] == []


def test_a_life_through_the_procedures_is_posted_row_by_row() -> None:
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    call_directly("PR_POINT_EARN", number, "13", 50, "G", None)
    spend = call_directly("PR_POINT_USE", number, "21", 120)
    call_directly("PR_POINT_USE_CANCEL", number, spend, 30, "31")

    imported = bring(number)

    assert (imported.rows, imported.accounts, imported.corrections) == (4, 1, 0)
    assert entries_of(number) == [("earn", 100), ("earn", 50), ("spend", -120), ("spend_cancel", 30)]
    sides.assert_equal(number)
    assert unexplained(number) == []
    assert FollowedAccount.objects.get(account_number=number).imported_at is not None
    assert_sound()


def test_the_second_import_changes_nothing() -> None:
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    bring(number)
    before = list(Entry.objects.filter(account__account_number=number).values())

    again = bring(number)

    assert (again.rows, again.corrections) == (0, 0)
    assert list(Entry.objects.filter(account__account_number=number).values()) == before


def test_what_came_since_is_all_that_the_next_import_posts() -> None:
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    bring(number)
    call_directly("PR_POINT_USE", number, "21", 30)

    assert bring(number).rows == 1
    assert entries_of(number) == [("earn", 100), ("spend", -30)]
    sides.assert_equal(number)


def test_operations_of_the_api_are_the_same_operations_and_their_messages_are_settled() -> None:
    number, client = account_number(), ClientFactory().id
    begin_epoch()
    earn = face.execute(EarnFactory(client_id=client, account_number=number, points=100)).operation
    spend = face.execute(SpendFactory(client_id=client, account_number=number, points=40)).operation
    face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id, points=10))

    bring(number)

    assert entries_of(number) == [("earn", 100), ("spend", -40), ("spend_cancel", 10)]
    assert Entry.objects.get(operation_id=earn.id).points == 100
    messages = MirrorMessage.objects.filter(account_number=number)
    assert list(messages.values_list("state", "note")) == [("applied", "imported")] * 3
    assert set(Operation.objects.filter(account_number=number).values_list("client_id", flat=True)) == {
        client
    }
    sides.assert_equal(number)


def test_an_import_is_no_news_for_the_follower() -> None:
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    set_stage("LEGACY_FIRST")
    bring(number)
    assert not MirrorMessage.objects.filter(account_number=number).exists()


def test_where_the_ledger_decides_nothing_is_brought() -> None:
    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    set_stage("NEW_FIRST")
    assert bring(number).left == [number]
    assert entries_of(number) == []


def test_a_long_history_is_brought_part_by_part() -> None:
    long, short = account_number(), account_number()
    for number in (long, short):
        member(number)
    gift = lot(long, 1000, 979)
    row(long, "SV", 1000, (gift, 1000))
    for _ in range(7):
        row(long, "US", -3, (gift, -3))
    other = lot(short, 5, 5)
    row(short, "SV", 5, (other, 5))

    first = bring(long, short, limit=4)
    assert (long in first.cut, first.rows, first.corrections) == (True, 4, 0)
    while remaining := bring(long, short, limit=4).cut:
        assert long in remaining

    assert entries_of(long) == [("earn", 1000)] + [("spend", -3)] * 7
    assert entries_of(short) == [("earn", 5)]
    assert unexplained(long) == []
    sides.assert_equal(long)


# --- what history does not explain ------------------------------------------------------------------------
def test_a_lot_that_was_topped_up_by_hand_gets_one_adjust() -> None:
    number = member(account_number())
    kept = lot(number, 100, 80)
    row(number, "SV", 100, (kept, 100))
    row(number, "US", -50, (kept, -50))

    bring(number)

    assert entries_of(number) == [("earn", 100), ("spend", -50), ("adjust", 30)]
    assert unexplained(number) == [("The history leads to another rest than the lot has.", 80, 50)]
    (adjust,) = Operation.objects.filter(account_number=number, kind="adjust")
    assert (adjust.decided_elsewhere, adjust.counterpart_id) == (True, None)
    assert adjust.reason_id == importing.policies.current().reasons["MIGRATION_DIFFERENCE"][0].id
    sides.assert_equal(number)
    assert_sound()


def test_a_lot_without_its_earning_is_there_before_it_is_spent_from() -> None:
    number = member(account_number())
    kept = lot(number, 100, 70, at="2025-12-01 10:00", until="2027-01-01 00:00")
    row(number, "US", -30, (kept, -30))

    bring(number)

    assert entries_of(number) == [("adjust", 100), ("spend", -30)]
    assert unexplained(number) == [("No row of the history granted the lot.", 70, -30)]
    sides.assert_equal(number)
    assert_sound()


def test_a_lot_that_no_row_names_is_granted_at_the_moment_of_its_earning() -> None:
    number = member(account_number())
    lot(number, 100, 70, at="2025-12-01 10:00")

    bring(number)

    assert entries_of(number) == [("adjust", 70)]
    granted = Entry.objects.get(account__account_number=number)
    assert granted.recorded_at.isoformat() == "2025-12-01T01:00:00+00:00"
    sides.assert_equal(number)
    assert_sound()


def test_more_than_was_granted_goes_on_beside_the_lot() -> None:
    number = member(account_number())
    kept = lot(number, 100, 107)
    row(number, "SV", 100, (kept, 100))

    bring(number)

    assert entries_of(number) == [("earn", 100), ("adjust", 7)]
    sides.assert_equal(number)
    call_directly("PR_POINT_USE", number, "21", 105)
    bring(number)
    assert entries_of(number)[2:] == [("spend", -105)]
    sides.assert_equal(number)
    assert_sound()


def test_less_than_nothing_is_nothing_here_and_a_mismatch() -> None:
    number = member(account_number())
    kept = lot(number, 100, -20)
    row(number, "SV", 100, (kept, 100))
    row(number, "US", -120, (kept, -120))

    bring(number)

    assert entries_of(number) == [("earn", 100), ("adjust", 20), ("spend", -120)]
    assert unexplained(number) == [("The legacy keeps less than nothing in the lot.", -20, -20)]
    assert sides.of_ledger(number) == {}
    assert_sound()


def test_a_cancel_whose_original_is_gone_is_posted_all_the_same() -> None:
    number = member(account_number())
    kept = lot(number, 100, 100)
    row(number, "SV", 100, (kept, 100))
    row(number, "US", -40, (kept, -40))
    row(number, "UC", 40, (kept, 40), cancels=999_999_999, type_code="31")

    bring(number)

    assert entries_of(number) == [("earn", 100), ("spend", -40), ("spend_cancel", 40)]
    assert Operation.objects.get(account_number=number, kind="spend_cancel").cancels_id is None
    assert unexplained(number) == []
    sides.assert_equal(number)
    assert_sound()


def test_rows_whose_lots_are_gone_end_with_nothing() -> None:
    number = member(account_number())
    row(number, "SV", 100)
    row(number, "US", -30)

    bring(number)

    assert entries_of(number) == [("earn", 100), ("spend", -30), ("adjust", -70)]
    assert sides.of_ledger(number) == {}
    assert_sound()


def test_an_earning_that_names_no_lot_is_that_of_the_lot_of_its_moment() -> None:
    number = member(account_number())
    lot(number, 100, 70, until="2027-01-01 00:00")
    row(number, "SV", 100)
    row(number, "US", -30)

    bring(number)

    assert entries_of(number) == [("earn", 100), ("spend", -30)]
    assert unexplained(number) == []
    sides.assert_equal(number)


def test_a_lot_that_now_lapses_at_another_moment_goes_on_beside_itself() -> None:
    number = member(account_number())
    kept = lot(number, 100, 100, until="2027-01-01 00:00")
    row(number, "SV", 100, (kept, 100))
    bring(number)
    run("UPDATE legacy.PT_LOT SET EXPIRE_DTM = '2028-01-01' WHERE LOT_SEQ = %s", kept)

    bring(number)

    assert entries_of(number) == [("earn", 100), ("adjust", -100), ("adjust", 100)]
    sides.assert_equal(number)
    again = bring(number)
    assert (again.rows, again.corrections) == (0, 0)
    assert_sound()


def test_a_rest_that_was_changed_in_place_is_found_by_the_next_import() -> None:
    number = member(account_number())
    kept = lot(number, 100, 100)
    row(number, "SV", 100, (kept, 100))
    bring(number)
    for remaining in (60, 80, 60):
        run("UPDATE legacy.PT_LOT SET REMAIN_AMT = %s WHERE LOT_SEQ = %s", remaining, kept)
        bring(number)
        sides.assert_equal(number)
    assert entries_of(number) == [("earn", 100), ("adjust", -40), ("adjust", 20), ("adjust", -20)]
    assert_sound()


@pytest.mark.parametrize("order", ["as told", "silent"])
def test_a_spend_that_can_be_cancelled_has_allocations_of_all_its_points(order: str) -> None:
    number = member(account_number())
    first, second = lot(number, 30, 0), lot(number, 30, 10, at="2026-02-10 09:00")
    row(number, "SV", 30, (first, 30))
    row(number, "SV", 30, (second, 30), at="2026-02-10 09:00")
    row(
        number,
        "US",
        -50,
        *([(first, -30), (second, -20)] if order == "as told" else []),
        at="2026-03-01 09:00",
    )

    bring(number)

    spend = Operation.objects.get(account_number=number, kind="spend")
    parts = list(Allocation.objects.filter(entry__operation=spend).order_by("position"))
    assert [part.points for part in parts] == [-30, -20]
    assert unexplained(number) == []
    sides.assert_equal(number)
