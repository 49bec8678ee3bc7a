"""What is kept for speed can be lost: it is computed again from the truth, and nothing else changes."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ledger import balances, clock, projections
from ledger.errors import OperationNotFound
from ledger.models import Account, OpenLot, StaleBalance
from ledger.projections import Difference
from ledger.verification import verify
from tests.ledger.member import Member


def damage(member: Member, change: str) -> None:
    """Run `change`, in which `mine` stands for the account's id. Others' accounts stay as they are."""
    mine = str(Account.objects.get(account_number=member.number).id)
    with connection.cursor() as cursor:
        cursor.execute(change.replace("mine", mine))


def kept(*members: Member) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    accounts = Account.objects.filter(account_number__in=[member.number for member in members])
    lots = OpenLot.objects.filter(account__in=accounts).order_by("lot_id")
    return list(accounts.order_by("id").values()), list(lots.values())


RICHER = "UPDATE ledger_account SET balance = balance + 5 WHERE id = mine"


def breaches() -> set[str]:
    return {breach.check for breach in verify(guards=False, cache=False).breaches}


def rebuilt(**options: Any) -> list[Difference]:
    differences: list[Difference] = []
    projections.rebuild(on_difference=differences.append, **options)
    return differences


@pytest.fixture
def spent(member: Member) -> Member:
    """100 until tomorrow, all but 30 of it spent; 50 for ever."""
    member.earns(100, expires_at=clock.now() + timedelta(days=1))
    member.earns(50, expires_at=None)
    member.spends(70)
    return member


def test_a_right_ledger_stays_as_it_is(spent: Member) -> None:
    before = kept(spent)

    assert rebuilt() == []

    assert kept(spent) == before


def test_all_projections_lost_come_back(spent: Member) -> None:
    before = kept(spent)
    damage(spent, "DELETE FROM ledger_open_lot WHERE account_id = mine")
    damage(
        spent,
        "UPDATE ledger_account SET balance = 0, next_expiry_at = NULL, outstanding_debt = 3 WHERE id = mine",
    )
    assert breaches() >= {"open_lot_is_what_remains", "account_balance_is_the_sum_of_its_entries"}

    differences = rebuilt()

    assert kept(spent) == before
    assert [(d.what.split()[0], d.kept, d.computed) for d in differences if "expiry" not in d.what] == [
        ("open", 0, 30),
        ("open", 0, 50),
        ("balance", 0, 80),
        ("outstanding_debt", 3, 0),
    ]
    assert breaches() == set()
    assert spent.spends(80).balance_after == 0


def test_open_lots_that_say_something_else_are_put_right(spent: Member) -> None:
    other = Member(client_id=spent.client_id)
    other.earns(5)
    damage(spent, "UPDATE ledger_open_lot SET remaining = 7 WHERE account_id = mine AND points = 50")
    damage(spent, "UPDATE ledger_open_lot SET expires_at = NULL WHERE account_id = mine AND points = 100")
    owner = Account.objects.get(account_number=spent.number).id
    damage(other, f"UPDATE ledger_open_lot SET account_id = {owner} WHERE account_id = mine")

    assert len(rebuilt()) == 3

    assert breaches() == set()
    assert (spent.available, other.available) == (80, 5)


def test_a_dry_run_says_all_and_writes_nothing(spent: Member) -> None:
    damage(spent, RICHER)

    (difference,) = rebuilt(dry_run=True)

    assert difference.sentence() == f"account {spent.number}: balance 85 -> 80"
    assert Account.objects.get(account_number=spent.number).balance == 85


def test_only_the_account_that_was_asked_for(spent: Member) -> None:
    other = Member(client_id=spent.client_id)
    other.earns(5)
    damage(spent, RICHER)
    damage(other, RICHER)

    assert [d.account_number for d in rebuilt(account_number=other.number)] == [other.number]
    with pytest.raises(OperationNotFound):
        rebuilt(account_number="never-seen")


def test_a_run_goes_on_behind_where_another_ended(spent: Member) -> None:
    other = Member(client_id=spent.client_id)
    other.earns(5)
    damage(spent, RICHER)
    damage(other, RICHER)
    first = Account.objects.get(account_number=spent.number)

    assert [d.account_number for d in rebuilt(after_account_id=first.id)] == [other.number]


def test_a_changed_account_is_marked_as_stale(spent: Member) -> None:
    damage(spent, "DELETE FROM ledger_stale_balance WHERE account_id = mine")
    damage(spent, RICHER)

    rebuilt()

    assert StaleBalance.objects.get(account__account_number=spent.number).sequence == 3


def test_a_sequence_is_never_taken_back(spent: Member) -> None:
    damage(spent, "UPDATE ledger_account SET sequence = sequence + 1, balance = balance + 1 WHERE id = mine")

    differences = rebuilt()

    assert [(d.what, d.because is None) for d in differences] == [("sequence", False), ("balance", True)]
    account = Account.objects.get(account_number=spent.number)
    assert (account.sequence, account.balance) == (4, 80)


def test_the_command_prints_each_change(spent: Member) -> None:
    damage(spent, RICHER)
    output = StringIO()

    call_command("rebuild_projections", stdout=output)

    last, accounts = Account.objects.latest("id"), Account.objects.count()
    assert output.getvalue().splitlines() == [
        f"account {spent.number}: balance 85 -> 80",
        f"{accounts} accounts, up to account id {last.id}",
        f"looked at {accounts} accounts, changed 1 projections of 1, 0 cannot be put right",
    ]


def test_the_command_ends_with_1_while_something_is_wrong(spent: Member) -> None:
    damage(spent, "UPDATE ledger_account SET sequence = sequence + 1 WHERE id = mine")

    for arguments in (["--dry-run"], []):
        with pytest.raises(SystemExit) as ended:
            call_command("rebuild_projections", *arguments, stdout=StringIO())
        assert ended.value.code == 1


def test_the_command_ends_with_2_for_an_unknown_account(spent: Member) -> None:
    with pytest.raises(CommandError) as error:
        call_command("rebuild_projections", "--account", "never-seen", stdout=StringIO())
    assert error.value.returncode == 2


@pytest.fixture
def committed(committed_db: None) -> Iterator[Member]:
    member = Member()
    yield member
    # What is broken here must not be met by others.
    projections.rebuild(account_number=member.number)


def test_redis_forgets_the_wrong_balance_of_the_right_version(committed: Member) -> None:
    committed.earns(10)
    account = Account.objects.get(account_number=committed.number)
    damage(committed, RICHER)
    balances.refresh(account_ids=[account.id])
    (wrong,) = balances.peek(account_numbers=[committed.number])
    assert (wrong.sequence, wrong.available) == (1, 15)

    projections.rebuild(account_number=committed.number)

    (right,) = balances.peek(account_numbers=[committed.number])
    assert (right.sequence, right.available) == (1, 10)
