"""The command: what it prints, and how it ends."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ledger import projections
from ledger.verification import CHECKS
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("committed_db")


@pytest.fixture
def broken():
    """A committed account whose balance came from nowhere."""
    member = Member()
    member.earns(10)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_account SET balance = balance + 5 WHERE account_number = %s", [member.number]
        )
    yield member
    projections.rebuild(account_number=member.number)


def run(*arguments: str) -> tuple[int, str, str]:
    output, progress = StringIO(), StringIO()
    code = 0
    try:
        call_command("verify_ledger", *arguments, stdout=output, stderr=progress)
    except SystemExit as ended:
        code = int(str(ended.code))
    return code, output.getvalue(), progress.getvalue()


def test_a_clean_ledger_passes_with_every_check_made() -> None:
    code, output, progress = run("--json")

    report = json.loads(output)
    assert (code, report["ok"], report["breaches"], report["skipped"]) == (0, True, [], [])
    assert set(report["checked"]) == set(CHECKS)
    assert "replayed the history of" in progress


def test_a_breach_is_named_with_its_numbers(broken: Member) -> None:
    code, output, _ = run()

    assert code == 1
    (line,) = [line for line in output.splitlines() if "account_balance_is_the_sum_of_its_entries" in line]
    assert "BREACH I1" in line
    assert "balance 15, points_of_entries 10" in line


def test_a_breach_in_json(broken: Member) -> None:
    code, output, _ = run("--json", "--examples", "1")

    report = json.loads(output)
    assert (code, report["ok"]) == (1, False)
    found = {breach["check"]: breach for breach in report["breaches"]}
    assert set(found) == {"account_balance_is_the_sum_of_its_entries", "points_conserved_in_total"}
    assert found["account_balance_is_the_sum_of_its_entries"]["examples"][0]["balance"] == 15


def test_wrong_use_ends_with_2() -> None:
    with pytest.raises(CommandError) as error:
        call_command("verify_ledger", "--examples", "many")
    assert error.value.returncode in (1, 2)


def test_a_snapshot_of_its_own_changes_nothing_and_leaves_nothing_open() -> None:
    code, _, _ = run()

    assert code == 0
    assert not connection.in_atomic_block
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only")
        assert cursor.fetchone() == ("off",)
