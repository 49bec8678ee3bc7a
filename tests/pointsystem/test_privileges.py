"""The application's role cannot change what was posted, whatever code runs."""

import psycopg
import pytest
from django.conf import settings
from django.db import ProgrammingError, connection

from pointsystem.privileges import insert_only_tables

pytestmark = pytest.mark.django_db


def _rights(table: str) -> set[str]:
    with connection.cursor() as cursor:
        rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
        cursor.execute(
            "SELECT r FROM unnest(%s::text[]) r WHERE has_table_privilege(current_user, %s, r)",
            [list(rights), f"public.{table}"],
        )
        return {right for (right,) in cursor.fetchall()}


def test_application_is_neither_owner_nor_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user, usesuper FROM pg_user WHERE usename = current_user")
        user, is_superuser = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM pg_tables WHERE tableowner = current_user")
        (owned,) = cursor.fetchone()
    assert user == settings.DATABASES["default"]["USER"]
    assert is_superuser is False
    assert owned == 0


def test_insert_only_tables_can_only_be_read_and_inserted() -> None:
    assert insert_only_tables(), "the ledger names no insert-only table"
    for table in insert_only_tables():
        assert _rights(table) == {"SELECT", "INSERT"}, table


def test_ordinary_tables_cannot_be_truncated() -> None:
    assert _rights("auth_user") == {"SELECT", "INSERT", "UPDATE", "DELETE"}


@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_database_refuses_to_change_posted_rows(statement: str) -> None:
    table = insert_only_tables()[0]
    with connection.cursor() as cursor, pytest.raises(ProgrammingError) as refused:
        cursor.execute(statement.format(table))
    assert isinstance(refused.value.__cause__, psycopg.errors.InsufficientPrivilege)
