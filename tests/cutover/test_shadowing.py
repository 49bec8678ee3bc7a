"""A share of the balances that clients read is looked up on both sides, off their path."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

import pytest

from cutover import routes, shadowing, verifying
from cutover.models import Difference, Mismatch, ShadowCount
from tests.cutover.conftest import set_stage
from tests.cutover.migrating.by_hand import bring, lot, member, row, run
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture(autouse=True)
def nothing_is_counted(legacy_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ShadowCount.objects.all().delete()
    monkeypatch.setattr(verifying, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(shadowing, "_PAUSE_SECONDS", 0.01)


def brought() -> tuple[str, int]:
    number = member(account_number())
    kept = lot(number, 100, 100)
    row(number, "SV", 100, (kept, 100))
    bring(number)
    return number, kept


def test_what_was_compared_is_counted_by_what_came_of_it() -> None:
    equal, (other, kept) = brought()[0], brought()
    run("UPDATE legacy.PT_LOT SET REMAIN_AMT = 60 WHERE LOT_SEQ = %s", kept)

    assert shadowing.compare([equal, other]) == 2

    counted = shadowing.counted(since=date(2020, 1, 1))
    assert (counted.compared, counted.equal, counted.differences[Difference.REAL]) == (2, 1, 1)
    found = Mismatch.objects.filter(found_by="shadow", account_number=other, resolved_at__isnull=True)
    assert {each.subject for each in found} == {"balance", f"lot:{kept}"}

    bring(other)
    shadowing.compare([other])
    assert not found.all().exists()


@pytest.mark.parametrize(
    ("stage", "is_sampled"),
    [("LEGACY_ONLY", False), ("LEGACY_FIRST", True), ("NEW_FIRST", True), ("NEW_ONLY", False)],
)
def test_it_samples_where_both_sides_are_kept_in_step(stage: str, is_sampled: bool, settings: Any) -> None:
    from ledger import doorbell

    settings.POINTS_SHADOW_SAMPLE = 1.0
    set_stage(stage)
    doorbell.reset()
    shadowing.sample("M-1", routes.current())
    assert ("cutover.tasks.compare_shadows" in doorbell._doorbell.others) is is_sampled


def test_where_little_is_read_one_is_taken_each_second(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger import doorbell

    settings.POINTS_SHADOW_SAMPLE = 1e-9
    set_stage("LEGACY_FIRST")
    route = routes.current()

    def taken(*, seconds_ago: float) -> bool:
        doorbell.reset()
        monkeypatch.setattr(shadowing, "_taken_at", time.monotonic() - seconds_ago)
        shadowing.sample("M-1", route)
        return "cutover.tasks.compare_shadows" in doorbell._doorbell.others

    assert [taken(seconds_ago=0.0), taken(seconds_ago=1.1), taken(seconds_ago=0.5)] == [False, True, False]


def test_without_a_share_nothing_is_sampled(settings: Any) -> None:
    from ledger import doorbell

    settings.POINTS_SHADOW_SAMPLE = 0.0
    set_stage("LEGACY_FIRST")
    doorbell.reset()
    shadowing.sample("M-1", routes.current())
    assert "cutover.tasks.compare_shadows" not in doorbell._doorbell.others
