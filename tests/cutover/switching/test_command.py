"""`manage.py cutover`: what operators type, and what scripts read."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cutover.models import Member, Route
from cutover.switching import journal
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy_only")

FIELDS = [
    "cohort",
    "stage",
    "epoch",
    "capture",
    "freeze_until",
    "backlog",
    "open_intents",
    "in_doubt",
    "rollback_loss",
]


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("cutover", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue()


def refused(*arguments: str) -> int:
    with pytest.raises(CommandError) as error:
        command(*arguments)
    return error.value.returncode


def test_status_is_exactly_what_was_promised(make_cohort: Any) -> None:
    cohort = make_cohort()
    found = json.loads(command("status", "--cohort", cohort, "--json"))
    assert list(found) == FIELDS
    assert found == {
        "cohort": cohort,
        "stage": "LEGACY_ONLY",
        "epoch": 1,
        "capture": False,
        "freeze_until": None,
        "backlog": {"count": 0, "oldest_seconds": None, "parked": 0, "held": 0},
        "open_intents": 0,
        "in_doubt": 0,
        "rollback_loss": 0,
    }
    assert "LEGACY_ONLY, epoch 1" in command("status", "--cohort", cohort)


def test_without_a_cohort_it_is_the_default_one() -> None:
    assert json.loads(command("status", "--json"))["cohort"] == "default"


def test_a_step_forward_and_back_by_hand(make_cohort: Any, moved_history: Any, no_workers: None) -> None:
    cohort = make_cohort()
    which = ("--cohort", cohort, "--actor", "kim", "--reason", "By hand.")
    captured = json.loads(command("capture", *which, "--json"))
    assert (captured["action"], captured["epoch"]) == ("capture_on", 2)
    moved_history()
    assert refused("advance", *which) == 1
    command("advance", *which, "--override", "all")
    assert Route.objects.get(cohort=cohort).stage == "LEGACY_FIRST"
    assert "LEGACY_ONLY, epoch 4" in command("rollback", *which)
    command("freeze", *which, "--minutes", "1")
    assert json.loads(command("status", "--cohort", cohort, "--json"))["freeze_until"] is not None
    command("thaw", *which)
    assert refused("thaw", *which) == 1

    told = json.loads(command("journal", "--cohort", cohort, "--json"))
    assert [(entry["action"], entry["result"]) for entry in told] == [
        ("thaw", "refused"),
        ("thaw", "done"),
        ("freeze", "done"),
        ("rollback", "done"),
        ("advance", "done"),
        ("advance", "refused"),
        ("capture_on", "done"),
    ]
    assert {(entry["actor"], entry["reason"]) for entry in told} == {("kim", "By hand.")}


def test_a_plan_is_approved_by_its_digest_and_carried_out_by_another(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    which = ("--cohort", cohort, "--reason", "Done.")
    found = json.loads(command("plan", "--cohort", cohort, "--json"))
    assert (found["action"], found["to_stage"], found["epoch"]) == ("finish", "NEW_ONLY", 1)
    assert found["digest"] in command("plan", "--cohort", cohort)
    assert refused("finish", *which, "--actor", "kim", "--override", "all") == 1
    assert refused("approve", *which, "--actor", "lee", "--digest", "0" * 64) == 1
    command("approve", *which, "--actor", "lee", "--digest", found["digest"])
    command("finish", *which, "--actor", "kim", "--override", "all")
    assert Route.objects.get(cohort=cohort).finished_at is not None


def test_a_red_preflight_ends_with_one_and_prints_every_check(make_cohort: Any, no_workers: None) -> None:
    output = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("cutover", "preflight", "--cohort", make_cohort(), "--json", stdout=output)
    checks = {check["name"]: check for check in json.loads(output.getvalue())["checks"]}
    assert error.value.returncode == 1
    assert checks["capture_is_on"]["is_green"] is False
    # Nobody has counted: that is not 0.
    assert checks["workers_are_alive"]["is_green"] is False
    assert checks["adapter_can_follow"]["is_green"] is True


def test_accounts_are_read_from_a_file(make_cohort: Any, tmp_path: Path) -> None:
    numbers = sorted(account_number() for _ in range(3))
    given = tmp_path / "accounts.txt"
    given.write_text("\n".join([*numbers, "", f"  {numbers[0]} "]))
    to = f"{make_cohort()}-f"
    told = json.loads(command("assign", "--to", to, "--accounts", str(given), "--json"))
    assert (told["moved"], told["to"]) == (3, to)
    assert sorted(Member.objects.filter(cohort=to).values_list("account_number", flat=True)) == numbers


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--cohort", "nobody"),
        ("assign", "--to", "first"),
        ("assign", "--percent", "5"),
        ("assign", "--to", "first", "--percent", "500"),
        ("assign", "--to", "first", "--accounts", "/nowhere/accounts.txt"),
    ],
)
def test_wrong_use_ends_with_two(arguments: tuple[str, ...]) -> None:
    assert refused(*arguments) == 2


def test_a_refusal_can_be_read_by_a_script(make_cohort: Any) -> None:
    output = StringIO()
    with pytest.raises(CommandError):
        call_command(
            "cutover", "rollback", "--cohort", make_cohort(), "--json", stdout=output, stderr=StringIO()
        )
    assert json.loads(output.getvalue())["refused"]["code"] == "no_such_step"


def test_without_a_legacy_there_is_nothing_to_switch(settings: Any) -> None:
    settings.HAS_LEGACY = False
    assert refused("status") == 2


def test_the_journal_as_a_table_holds_no_formula(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    command("freeze", "--cohort", cohort, "--reason", '=HYPERLINK("http://x")', "--actor", "kim")
    (head, row) = csv.reader(StringIO(command("journal", "--cohort", cohort, "--csv")))
    assert tuple(head) == journal.COLUMNS
    assert row[journal.COLUMNS.index("reason")] == '\'=HYPERLINK("http://x")'
    assert json.loads(row[journal.COLUMNS.index("details")])["minutes"] == 30.0
