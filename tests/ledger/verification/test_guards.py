"""A guard that is gone is a breach, even while every row is right."""

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from ledger.database import violated_constraint
from ledger.verification import Breach
from ledger.verification.guards import wanted_functions, wanted_triggers
from tests.ledger.member import Member
from tests.ledger.verification.story import Story


def breach_after(story: Story, statement: str) -> Breach:
    """The one breach that is found after the owner ran `statement`."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
    (breach,) = story.verify().breaches
    return breach


@pytest.mark.parametrize(
    ("statement", "check", "named"),
    [
        (
            "ALTER TABLE ledger_entry DROP CONSTRAINT entry_sign_matches_kind",
            "constraint_is_there_and_validated",
            "entry_sign_matches_kind",
        ),
        (
            (
                "ALTER TABLE ledger_open_lot DROP CONSTRAINT open_lot_remaining_is_positive,"
                " ADD CONSTRAINT open_lot_remaining_is_positive CHECK (remaining > 0) NOT VALID"
            ),
            "constraint_is_there_and_validated",
            "not validated",
        ),
        (
            "ALTER TABLE ledger_operation DROP CONSTRAINT operation_key_is_unique_per_client",
            "constraint_is_there_and_validated",
            "operation_key_is_unique_per_client",
        ),
        (
            "ALTER TABLE ledger_entry ALTER COLUMN balance_after DROP NOT NULL",
            "column_is_not_null",
            "balance_after",
        ),
        ("DROP INDEX open_lot_in_spending_order", "index_is_there_and_valid", "open_lot_in_spending_order"),
        (
            "DROP TRIGGER entry_is_insert_only ON ledger_entry",
            "trigger_is_there_and_enabled",
            "entry_is_insert_only",
        ),
        (
            "ALTER TABLE ledger_lot DISABLE TRIGGER lot_is_insert_only",
            "trigger_is_there_and_enabled",
            "state disabled",
        ),
        (
            (
                "DROP TRIGGER allocation_is_insert_only ON ledger_allocation;"
                " CREATE TRIGGER allocation_is_insert_only BEFORE DELETE ON ledger_allocation"
                " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
            ),
            "trigger_is_there_and_enabled",
            "not as the migration wrote it",
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql"
                " AS $$ BEGIN RETURN NULL; END $$"
            ),
            "function_is_as_written",
            "ledger_refuse_change",
        ),
    ],
)
def test_a_guard_that_is_gone_is_named(story: Story, statement: str, check: str, named: str) -> None:
    breach = breach_after(story, statement)

    assert breach.invariant == "I20"
    assert breach.check == check
    assert named in breach.sentence()


def test_a_foreign_key_that_is_gone_is_named(story: Story) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid = 'ledger_debt'::regclass AND confrelid = 'ledger_operation'::regclass"
        )
        (name,) = cursor.fetchone()

    breach = breach_after(story, f"ALTER TABLE ledger_debt DROP CONSTRAINT {name}")

    assert breach.check == "foreign_key_is_there_and_validated"
    assert dict(breach.examples[0]) == {
        "table": "ledger_debt",
        "column": "operation_id",
        "refers_to": "ledger_operation",
        "state": "missing",
    }


@pytest.mark.parametrize("privilege", ["UPDATE", "DELETE", "TRUNCATE", "UPDATE (points)"])
def test_a_privilege_too_many_is_named(story: Story, privilege: str) -> None:
    role = settings.DATABASES["default"]["USER"]

    breach = breach_after(story, f'GRANT {privilege} ON ledger_allocation TO "{role}"')

    assert (breach.invariant, breach.check) == ("I19", "insert_only_by_privilege")
    assert f"role {role}, table ledger_allocation, may {privilege.split()[0]}" in breach.sentence()


def test_the_list_of_guards_comes_from_the_migrations() -> None:
    """The negative control of the reader: it finds what stands in the SQL, and all of it."""
    triggers = wanted_triggers()

    assert triggers["entry_is_insert_only"].table == "ledger_entry"
    assert triggers["operation_outcome_is_final"].function == "ledger_refuse_reopening"
    assert len(triggers) >= 14
    assert set(wanted_functions()) >= {trigger.function for trigger in triggers.values()}


def test_an_entry_is_never_allocated_a_second_time(member: Member) -> None:
    """The second set sums to the points of the entry too; only its place gives it away."""
    member.earns(100)
    spend = member.spends(10)

    with pytest.raises(DatabaseError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_allocation (entry_id, position, lot_id, points)"
            " SELECT entry_id, 1, lot_id, points FROM ledger_allocation WHERE entry_id ="
            " (SELECT id FROM ledger_entry WHERE operation_id = %s)",
            [spend.id],
        )

    assert violated_constraint(refused.value) == "allocations_come_all_at_once"
