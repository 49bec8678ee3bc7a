"""What the application's database role may do: everything but change what was posted.

The tables belong to the role of MIGRATE_DATABASE_URL. After each `migrate` the role of DATABASE_URL is
granted what it needs, and on insert-only tables no more than SELECT and INSERT (design: insert-only).
"""

from django.apps import apps
from django.conf import settings
from django.db import connections, transaction
from psycopg import sql

ORDINARY = sql.SQL("SELECT, INSERT, UPDATE, DELETE")
INSERT_ONLY = sql.SQL("SELECT, INSERT")


def insert_only_tables() -> tuple[str, ...]:
    """Names of the tables of which no row may ever be changed or deleted."""
    return tuple(
        name
        for config in apps.get_app_configs()
        for name in getattr(config.models_module, "INSERT_ONLY_TABLES", ())
    )


def grant_privileges(*, using: str = "default") -> None:
    """Grant the application's role what it needs in schema `public`, and nothing more. Idempotent.

    Does nothing when the application's role is the one that is connected, and so owns the tables.
    """
    role = settings.DATABASES[using].get("USER") or ""
    # One transaction, so that a running application never meets the moment between REVOKE and GRANT.
    with transaction.atomic(using=using), connections[using].cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
        if not role or role == owner:
            return
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner = %s", [owner]
        )
        tables = sorted(name for (name,) in cursor.fetchall())
        insert_only = set(insert_only_tables())
        grantee = sql.Identifier(role)
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(grantee))
        cursor.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(grantee))
        for name in tables:
            table = sql.Identifier("public", name)
            rights = INSERT_ONLY if name in insert_only else ORDINARY
            cursor.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(table, grantee))
            cursor.execute(sql.SQL("GRANT {} ON {} TO {}").format(rights, table, grantee))
