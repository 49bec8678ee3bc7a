"""The months of both sides, by kind and reason, and down to the row."""

from __future__ import annotations

import json
from datetime import date
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cutover import mismatches, reconciling
from cutover.models import FoundBy
from tests.cutover.migrating.by_hand import bring, lot, member, row, run
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


def year() -> int:
    """A year of which nothing is kept: what it has, this test made."""
    year.last += 1  # type: ignore[attr-defined]
    return int(year.last)  # type: ignore[attr-defined]


year.last = 2017  # type: ignore[attr-defined]


def brought(of: int) -> tuple[str, int]:
    number = member(account_number())
    kept = lot(number, 100, 70, at=f"{of}-03-01 00:00")
    row(number, "SV", 100, (kept, 100), at=f"{of}-03-01 00:00")
    spend = row(number, "US", -30, (kept, -30), at=f"{of}-03-31 23:59", type_code="21")
    row(number, "SV", 1, at=f"{of}-04-01 00:00")
    bring(number)
    return number, spend


def test_a_month_is_that_of_the_legacys_zone() -> None:
    of = year()
    brought(of)
    march = reconciling.month(date(of, 3, 1))
    assert [(line.kind, line.reason, line.legacy_rows, line.ledger_points) for line in march.lines] == [
        ("earn", "ORDER_REWARD", 1, 100),
        ("spend", "ORDER_PAYMENT", 1, -30),
    ]
    assert march.is_explained
    assert [line.is_equal for line in march.lines] == [True, True]


def test_a_row_that_is_gone_is_found_down_to_its_operation() -> None:
    of = year()
    number, spend = brought(of)
    run("DELETE FROM legacy.PT_HIST WHERE HIST_SEQ = %s", spend)
    march = reconciling.month(date(of, 3, 1))
    assert not march.is_explained
    (found,) = march.unexplained()
    assert (found.subject, found.legacy, found.ledger) == (
        f"month:{of}-03:spend:ORDER_PAYMENT",
        [0, 0],
        [1, -30],
    )
    (account,) = reconciling.accounts(date(of, 3, 1))
    assert (account.account_number, account.legacy_points, account.ledger_points) == (number, 100, 70)
    lines = reconciling.operations(date(of, 3, 1), account_number=number)
    assert [(line.kind, line.legacy_points, line.ledger_points) for line in lines] == [
        ("earn", 100, 100),
        ("spend", None, -30),
    ]

    mismatches.look(account_numbers=[""], found=[found], found_by=FoundBy.RECONCILE)
    (listed,) = [each for each in mismatches.listed(account_number="") if each.subject == found.subject]
    mismatches.resolve(ids=[listed.id], actor="ann", reason="deleted by the month's clean-up")
    explained = reconciling.month(date(of, 3, 1))
    assert explained.is_explained
    assert [line.explanation for line in explained.lines] == ["", "deleted by the month's clean-up"]


def test_corrections_stand_apart() -> None:
    of = year()
    number = member(account_number())
    lot(number, 100, 70, at=f"{of}-05-05 10:00")
    bring(number)
    may = reconciling.month(date(of, 5, 1))
    assert [(line.kind, line.reason, line.ledger_points, line.explanation) for line in may.lines] == [
        ("adjust", "MIGRATION_DIFFERENCE", 70, "corrections of the migration")
    ]


def test_the_command_ends_with_one_on_a_difference_that_nobody_explains() -> None:
    of = year()
    _, spend = brought(of)
    out = StringIO()
    call_command("reconcile", f"--month={of}-03", "--json", stdout=out)
    assert json.loads(out.getvalue())["is_explained"] is True
    run("DELETE FROM legacy.PT_HIST WHERE HIST_SEQ = %s", spend)
    with pytest.raises(SystemExit) as ended:
        call_command("reconcile", f"--month={of}-03", stdout=StringIO())
    assert ended.value.code == 1


@pytest.mark.parametrize("month", ["2026-13", "2026", "0000-01", "next"])
def test_the_command_refuses_what_is_no_month(month: str, capsys: Any) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("reconcile", f"--month={month}")
    assert refused.value.returncode == 2
