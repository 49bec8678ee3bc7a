"""What the database refuses, whoever asks: each invariant by its name, around the ORM."""

import os
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from ledger.database import violated_constraint
from ledger.models import INSERT_ONLY_TABLES, Account, Allocation, Entry, Lot, Operation
from tests.factories import OperationFactory
from tests.ledger.member import Member

pytestmark = pytest.mark.usefixtures("noon")


def refused(statement: str, parameters: Any = ()) -> str | None:
    """Run `statement`, which must be refused, and return the name of what refused it."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except DatabaseError as error:
        return violated_constraint(error)
    raise AssertionError("nothing was refused")


@pytest.fixture
def spent(member: Member) -> Operation:
    member.earns(10)
    return Operation.objects.get(id=member.spends(4).id)


@pytest.fixture
def owner() -> Any:
    """The application's role may not even try: the triggers are shown to the owner of the tables."""
    with psycopg.connect(os.environ["MIGRATE_DATABASE_URL"]) as owner:
        yield owner
        owner.rollback()


@pytest.mark.parametrize("table", INSERT_ONLY_TABLES)
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_not_even_the_owner_changes_what_was_posted(owner: Any, table: str, statement: str) -> None:
    if table == "ledger_allocation":
        statement = statement.replace("id = id", "points = points")

    with pytest.raises(psycopg.Error) as caught:
        owner.execute(statement.format(table))

    name = caught.value.diag.constraint_name
    # TRUNCATE ... CASCADE reaches the tables that refer to this one, and any of them refuses.
    expected = table.removeprefix("ledger_") + "_is_insert_only"
    assert name == expected or (
        "TRUNCATE" in statement and str(name).endswith(("_insert_only", "_never_deleted"))
    )


@pytest.mark.parametrize("table", ["ledger_account", "ledger_client", "ledger_reason"])
def test_what_others_name_never_goes(owner: Any, table: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        owner.execute(f"DELETE FROM {table}")

    assert caught.value.diag.constraint_name == table.removeprefix("ledger_") + "_is_never_deleted"


def test_an_operation_goes_only_while_nobody_has_decided_it(spent: Operation) -> None:
    for state in ("completed", "failed", "accepted", "in_doubt"):
        values = {"state": state, "refusal": {"code": "insufficient_points"} if state == "failed" else None}
        kept = OperationFactory(**values)
        assert (
            refused("DELETE FROM ledger_operation WHERE id = %s", [kept.id]) == "operation_is_never_deleted"
        )
    pending = OperationFactory(state="pending")

    Operation.objects.filter(id=pending.id).delete()

    assert not Operation.objects.filter(id=pending.id).exists()


def test_operations_are_never_truncated(owner: Any) -> None:
    with pytest.raises(psycopg.Error) as caught:
        owner.execute("TRUNCATE ledger_operation CASCADE")

    assert caught.value.diag.constraint_name in ("operation_is_never_truncated", "entry_is_insert_only")


def test_an_outcome_is_final(spent: Operation) -> None:
    assert (
        refused("UPDATE ledger_operation SET state = 'failed' WHERE id = %s", [spent.id])
        == "operation_outcome_is_final"
    )


def test_a_sequence_never_goes_back(spent: Operation) -> None:
    assert (
        refused(
            "UPDATE ledger_account SET sequence = sequence - 1 WHERE account_number = %s",
            [spent.account_number],
        )
        == "account_sequence_never_goes_back"
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("balance = -1", "account_balance_not_negative"),
        ("outstanding_debt = -1", "account_debt_not_negative"),
        ("status = 'odd'", "account_status_is_known"),
        ("last_recorded_at = opened_at - interval '1 s'", "account_recorded_after_opening"),
    ],
)
def test_an_account_stays_sound(spent: Operation, change: str, name: str) -> None:
    assert (
        refused(f"UPDATE ledger_account SET {change} WHERE account_number = %s", [spent.account_number])
        == name
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ("remaining = 0", "open_lot_remaining_is_positive"),
        ("remaining = points + 1", "open_lot_remaining_within_points"),
    ],
)
def test_a_lot_never_holds_more_than_it_granted(spent: Operation, change: str, name: str) -> None:
    lot = Lot.objects.get(account__account_number=spent.account_number)
    assert refused(f"UPDATE ledger_open_lot SET {change} WHERE lot_id = %s", [lot.id]) == name


_ENTRY = """
WITH entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT %(entry_id)s, account.id, account.sequence + %(step)s, %(operation_id)s, %(kind)s, %(points)s,
        %(after)s, now(), now()
    FROM ledger_account AS account WHERE account.account_number = %(number)s
)
INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
SELECT %(entry_id)s, 0, %(lot_id)s, %(allocated)s WHERE %(allocated)s::bigint IS NOT NULL
"""


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"points": 0, "allocated": None}, "entry_sign_matches_kind"),
        ({"allocated": 0}, "allocation_points_not_zero"),
        ({"points": 5, "allocated": 5}, "entry_sign_matches_kind"),
        ({"kind": "odd"}, "entry_sign_matches_kind"),
        ({"after": -1}, "entry_balance_after_not_negative"),
        ({"step": 0}, "entry_sequence_is_unique_per_account"),
        ({"step": -100}, "entry_sequence_is_positive"),
        ({"allocated": -4}, "allocation_sum_matches_entry"),
        ({"allocated": None}, "entry_has_allocations"),
        ({"operation_id": uuid4()}, "entry_has_operation"),
        ({"lot_id": uuid4()}, "allocation_has_lot"),
    ],
)
def test_an_entry_and_its_allocations_stay_sound(spent: Operation, values: dict[str, Any], name: str) -> None:
    lot = Lot.objects.get(account__account_number=spent.account_number)
    sound = {
        "entry_id": uuid4(),
        "operation_id": spent.id,
        "kind": "spend",
        "points": -5,
        "allocated": -5,
        "after": 1,
        "step": 1,
        "number": spent.account_number,
        "lot_id": lot.id,
    }

    assert refused(_ENTRY, sound | values) == name


def test_an_entry_never_touches_another_accounts_lot(spent: Operation, member: Member) -> None:
    other = Member()
    other.earns(10)
    lot = Lot.objects.get(account__account_number=other.number)

    name = refused(
        _ENTRY,
        {
            "entry_id": uuid4(),
            "operation_id": spent.id,
            "kind": "spend",
            "points": -5,
            "allocated": -5,
            "after": 1,
            "step": 1,
            "number": member.number,
            "lot_id": lot.id,
        },
    )

    assert name == "allocation_lot_of_same_account"


def test_a_key_stands_for_one_operation_of_a_client(spent: Operation) -> None:
    columns = [field.column for field in Operation._meta.concrete_fields if field.column != "id"]

    name = refused(
        f"INSERT INTO ledger_operation (id, {', '.join(columns)})"
        f" SELECT %s, {', '.join(columns)} FROM ledger_operation WHERE id = %s",
        [uuid4(), spent.id],
    )

    assert name == "operation_key_is_unique_per_client"


def test_nothing_of_it_was_written(spent: Operation) -> None:
    """The negative control of the tests above: the sound rows are there, and they are all."""
    account = Account.objects.get(account_number=spent.account_number)

    assert Entry.objects.filter(account=account).count() == 2
    assert Allocation.objects.filter(entry__account=account).count() == 2
    assert refused("SELECT 1/0") is None


def test_an_entry_needs_an_account(spent: Operation) -> None:
    name = refused(
        """
        WITH entry AS (
            INSERT INTO ledger_entry (
                id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
            )
            VALUES (%(entry)s, -1, 1, %(operation)s, 'spend', -1, 0, now(), now())
        )
        INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
        SELECT %(entry)s, 0, id, -1 FROM ledger_lot LIMIT 1
        """,
        {"entry": uuid4(), "operation": spent.id},
    )

    # Both checks see it; which of them speaks first is PostgreSQL's affair.
    assert name in ("entry_has_account", "allocation_lot_of_same_account")


@pytest.mark.parametrize(
    ("entry", "account", "name"),
    [
        ("gen_random_uuid()", "account_id", "lot_has_entry"),
        ("entry_id", "account_id + 1", "lot_of_its_entrys_account"),
    ],
)
def test_a_lot_belongs_to_an_entry_of_its_account(
    spent: Operation, entry: str, account: str, name: str
) -> None:
    columns = "points, earned_at, expires_at, reason_id, policy_id"

    assert name == refused(
        f"INSERT INTO ledger_lot (id, entry_id, account_id, {columns})"
        f" SELECT gen_random_uuid(), {entry}, {account}, {columns} FROM ledger_lot LIMIT 1"
    )


def test_an_allocation_needs_an_entry(spent: Operation) -> None:
    assert (
        refused(
            "INSERT INTO ledger_allocation (entry_id, position, lot_id, points)"
            " SELECT gen_random_uuid(), 0, id, 1 FROM ledger_lot LIMIT 1"
        )
        == "allocation_has_entry"
    )


def test_an_entry_gets_no_allocation_later(spent: Operation) -> None:
    entry = Entry.objects.get(operation=spent)
    lot = Lot.objects.get(account__account_number=spent.account_number)

    assert (
        refused(
            "INSERT INTO ledger_allocation (entry_id, lot_id, position, points) VALUES (%s, %s, 1, -1)",
            [entry.id, lot.id],
        )
        == "allocation_sum_matches_entry"
    )
