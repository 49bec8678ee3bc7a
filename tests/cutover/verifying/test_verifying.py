"""Both sides of every account are compared, and what differs is named by its class."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from cutover import comparing, migrating, verifying
from cutover.models import Difference, Mismatch
from ledger.database import fetch_all
from tests.cutover.conftest import set_stage
from tests.cutover.legacy_calls import call_directly
from tests.cutover.migrating.by_hand import bring, lot, member, row, run
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture(autouse=True)
def nothing_is_open(legacy_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_all("UPDATE cutover_run SET finished_at = clock_timestamp() WHERE finished_at IS NULL")
    monkeypatch.setattr(verifying, "_PAUSE_SECONDS", 0.01)
    migrating.run(is_delta=True, is_full=True)
    fetch_all(
        "UPDATE cutover_mismatch SET resolved_at = clock_timestamp(), resolved_by = 'test'"
        " WHERE resolved_at IS NULL"
    )


def found(number: str) -> list[tuple[str, str, Any, Any]]:
    return [
        (each.subject, each.difference, each.said["legacy"], each.said["ledger"])
        for each in Mismatch.objects.filter(
            account_number=number, found_by="verification", resolved_at__isnull=True
        ).order_by("id")
    ]


def brought(points: int = 100, *, until: str | None = None) -> tuple[str, int]:
    number = member(account_number())
    kept = lot(number, points, points, until=until)
    row(number, "SV", points, (kept, points))
    bring(number)
    return number, kept


def test_equal_sides_are_clean() -> None:
    brought()
    result = verifying.run()
    assert result.is_clean
    assert result.accounts > 0
    assert sum(result.differences.values()) == 0
    assert verifying.last_result() == result


def test_another_rest_is_real_and_goes_when_it_is_brought() -> None:
    number, kept = brought()
    run("UPDATE legacy.PT_LOT SET REMAIN_AMT = 60 WHERE LOT_SEQ = %s", kept)
    result = verifying.run()
    assert (result.is_clean, result.real_open) == (False, 2)
    assert found(number) == [("balance", "real", 60, 100), (f"lot:{kept}", "real", 60, 100)]

    bring(number)
    assert verifying.run().is_clean
    (resolved, _) = Mismatch.objects.filter(account_number=number, found_by="verification")
    assert (resolved.resolved_by, resolved.resolution) == ("verification", "It is not there any more.")


def test_the_same_sum_over_other_lots_is_a_matter_of_order() -> None:
    number = member(account_number())
    first, second = lot(number, 50, 50), lot(number, 50, 50)
    row(number, "SV", 50, (first, 50))
    row(number, "SV", 50, (second, 50))
    bring(number)
    run("UPDATE legacy.PT_LOT SET REMAIN_AMT = 40 WHERE LOT_SEQ = %s", first)
    run("UPDATE legacy.PT_LOT SET SAVE_AMT = 60, REMAIN_AMT = 60 WHERE LOT_SEQ = %s", second)
    assert verifying.run().is_clean
    assert [each[:2] for each in found(number)] == [(f"lot:{first}", "order"), (f"lot:{second}", "order")]


@pytest.mark.parametrize(
    ("apart", "difference"),
    [
        (timedelta(0), None),
        (timedelta(milliseconds=400), Difference.ROUNDING),
        (timedelta(hours=9), Difference.ZONE),
        (timedelta(hours=9, seconds=7), Difference.REAL),
        (timedelta(days=3), Difference.REAL),
    ],
)
def test_an_expiry_differs_by_rounding_by_zone_or_really(
    apart: timedelta, difference: Difference | None
) -> None:
    expiry = datetime(2027, 1, 1, tzinfo=UTC)
    assert comparing.expiry_difference(expiry, expiry + apart) == difference
    assert comparing.expiry_difference(expiry, None) == Difference.REAL


def test_a_lot_that_lapses_nine_hours_apart_is_a_matter_of_zone() -> None:
    number, kept = brought(until="2027-01-01 00:00")
    run("UPDATE legacy.PT_LOT SET EXPIRE_DTM = '2027-01-01 09:00' WHERE LOT_SEQ = %s", kept)
    assert verifying.run().is_clean
    assert [each[:2] for each in found(number)] == [(f"lot:{kept}", "zone")]


def test_what_is_still_on_its_way_is_behind() -> None:
    number, _ = brought()
    set_stage("LEGACY_FIRST")
    call_directly("PR_POINT_USE", number, "21", 10)
    from cutover.mirroring import worker

    worker.look_for_strangers(again=True)
    assert verifying.run().differences[Difference.BEHIND] >= 2
    assert {each[1] for each in found(number)} == {"behind"}


def test_an_account_that_only_the_legacy_has_is_found() -> None:
    number = member(account_number())
    kept = lot(number, 10, 10)
    verifying.run()
    assert found(number) == [("balance", "real", 10, 0), (f"lot:{kept}", "real", 10, None)]
    bring(number)


def test_a_sample_looks_at_some() -> None:
    for _ in range(5):
        brought()
    assert verifying.run(sample=1).is_sample


def test_the_command_ends_with_one_where_something_real_is_open() -> None:
    number, kept = brought()
    run("UPDATE legacy.PT_LOT SET REMAIN_AMT = 60 WHERE LOT_SEQ = %s", kept)
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("verify_migration", "--json", stdout=out)
    assert ended.value.code == 1
    assert json.loads(out.getvalue())["differences"]["real"] >= 2
    bring(number)
    out = StringIO()
    call_command("verify_migration", "--json", stdout=out)
    assert json.loads(out.getvalue())["is_clean"] is True
