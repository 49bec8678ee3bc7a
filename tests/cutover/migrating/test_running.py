"""A migration goes through all accounts, stops and goes on, and a second one changes nothing."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cutover import migrating
from cutover.migrating import importing, running
from cutover.models import FollowedAccount, Mismatch, Run
from ledger.models import Entry
from legacy_bridge import sessions
from tests.cutover import sides
from tests.cutover.legacy_calls import call_directly
from tests.cutover.migrating.by_hand import bring, lot, member, row, run
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy")


@pytest.fixture(autouse=True)
def no_run_is_open(legacy: Any) -> None:
    from ledger.database import fetch_all

    fetch_all("UPDATE cutover_run SET finished_at = clock_timestamp() WHERE finished_at IS NULL")


def with_points(count: int, points: int = 100) -> list[str]:
    numbers = [account_number() for _ in range(count)]
    for number in numbers:
        call_directly("PR_POINT_EARN", number, "11", points, "D", None)
    return numbers


def entries() -> int:
    return Entry.objects.count()


def test_all_accounts_are_brought_and_a_second_run_changes_nothing() -> None:
    numbers = with_points(5)
    done = migrating.run(batch=2)
    for number in numbers:
        sides.assert_equal(number)
    assert done.finished_at is not None
    assert done.accounts_done == done.accounts_total
    before = entries()

    again = migrating.run(batch=3)

    assert (again.rows_done, again.counts.get("corrections", 0)) == (0, 0)
    assert entries() == before


def test_when_the_time_is_up_the_next_run_goes_on_there() -> None:
    numbers = with_points(4)
    first = migrating.run(batch=1, seconds=0)
    assert (first.finished_at, first.is_held) == (None, False)
    second = migrating.run(batch=1)
    assert (second.id, second.finished_at is not None) == (first.id, True)
    for number in numbers:
        sides.assert_equal(number)


def test_with_one_call_at_a_time_nothing_is_read_ahead(settings: Any) -> None:
    settings.POINTS_LEGACY_MOST_CALLS = 1
    sessions.forget()
    numbers = with_points(3)
    assert migrating.run(batch=1).finished_at is not None
    for number in numbers:
        sides.assert_equal(number)


def test_an_account_that_moved_since_it_was_read_is_left_to_the_delta() -> None:
    number = max(with_points(3))
    ((before,),) = run("SELECT max(MBR_NO) FROM legacy.PT_MBR WHERE MBR_NO < %s", number)
    moved: list[str] = []

    def move(progress: migrating.Progress) -> None:
        # The page behind this one was begun to be read: nobody may bring that account a second time.
        if not moved and progress.cursor == before.rstrip():
            bring(number)
            call_directly("PR_POINT_USE", number, "21", 30)
            moved.append(number)

    done = migrating.run(batch=1, on_batch=move)

    assert moved == [number]
    assert (done.finished_at is not None, done.counts["left"]) == (True, 0)
    assert Entry.objects.filter(account__account_number=number).count() == 1
    assert migrating.run(is_delta=True).rows_done == 1
    sides.assert_equal(number)


def test_two_do_not_work_on_one_run() -> None:
    with_points(2)
    seen: list[str] = []

    def also_run(progress: migrating.Progress) -> None:
        with pytest.raises(migrating.RunIsHeld):
            migrating.runs.hold(progress.kind, parameters={}, accounts_total=None)
        seen.append(progress.kind)

    migrating.run(batch=1, on_batch=also_run)
    assert len(seen) >= 2


def test_a_delta_brings_the_accounts_with_new_rows() -> None:
    numbers = with_points(3)
    migrating.run()
    call_directly("PR_POINT_USE", numbers[1], "21", 30)
    fresh = with_points(1)

    done = migrating.run(is_delta=True)

    assert done.rows_done == 2
    for number in [*numbers, *fresh]:
        sides.assert_equal(number)


def test_only_a_full_delta_sees_what_was_changed_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    # No row is of the last minutes.
    monkeypatch.setattr(running, "_LATE", timedelta(0))
    number = member(account_number())
    kept = lot(number, 100, 100, at="2025-01-10 09:00")
    row(number, "SV", 100, (kept, 100), at="2025-01-10 09:00")
    migrating.run()
    run("UPDATE legacy.PT_LOT SET REMAIN_AMT = 90 WHERE LOT_SEQ = %s", kept)

    assert migrating.run(is_delta=True).counts.get("corrections", 0) == 0
    assert migrating.run(is_delta=True, is_full=True).counts["corrections"] == 1
    sides.assert_equal(number)


def test_an_account_that_cannot_be_read_is_given_up_and_the_others_go_on() -> None:
    wrong, right = member(account_number()), with_points(1)[0]
    row(wrong, "SV", 100, at="9000-01-01 00:00")
    try:
        done = migrating.run()
        assert done.finished_at is not None
        sides.assert_equal(right)
        (mismatch,) = Mismatch.objects.filter(account_number=wrong, subject="account")
        assert "cannot be brought" in mismatch.why
        assert FollowedAccount.objects.filter(account_number=wrong, imported_at__isnull=False).count() == 0
    finally:
        run("DELETE FROM legacy.PT_HIST WHERE MBR_NO = %s", wrong)
        migrating.run()


def test_a_rate_bounds_the_rows_of_a_second() -> None:
    number = member(account_number())
    kept = lot(number, 1000, 970)
    row(number, "SV", 1000, (kept, 1000))
    for _ in range(30):
        row(number, "US", -1, (kept, -1))
    from time import monotonic

    began = monotonic()
    migrating.run(rate=20)
    assert monotonic() - began > 1.0
    sides.assert_equal(number)


def test_what_workers_were_asked_for_they_carry_on_within_its_window() -> None:
    from datetime import UTC, datetime

    (number,) = with_points(1)
    started = migrating.start(actor="ann", window_minutes=30)
    assert started.parameters["actor"] == "ann"
    assert migrating.carry_on(now=datetime(2026, 3, 1, 12, 45, tzinfo=UTC)) == 0
    assert migrating.carry_on(now=datetime(2026, 3, 1, 13, 5, tzinfo=UTC)) >= 1
    sides.assert_equal(number)
    overview = migrating.progress()
    assert overview.is_migrated


def test_workers_leave_alone_what_a_person_began() -> None:
    migrating.run(seconds=0)
    assert migrating.carry_on() == 0
    assert Run.objects.filter(finished_at__isnull=True).count() == 1


def test_the_command_tells_how_far_it_is() -> None:
    with_points(1)
    out = StringIO()
    call_command("migrate_legacy", "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["kind"], told["finished_at"] is not None) == ("migration", True)


@pytest.mark.parametrize("wrong", [["--batch=0"], ["--rate=0"], ["--window=61"], ["--full"]])
def test_the_command_refuses_wrong_use(wrong: list[str], capsys: Any) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("migrate_legacy", *wrong)
    assert refused.value.returncode == 2


def test_a_transaction_in_the_way_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError
    from psycopg import errors as pg

    (number,) = with_points(1)
    real, calls = importing.write, []

    def disturbed(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise OperationalError("in the way") from pg.LockNotAvailable("in the way")
        return real(*arguments, **named)

    monkeypatch.setattr(running.importing, "write", disturbed)
    assert migrating.run().finished_at is not None
    assert len(calls) > 1
    sides.assert_equal(number)
