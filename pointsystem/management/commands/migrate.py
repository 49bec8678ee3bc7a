"""Django's migrate, as the role that owns the tables; then the application's role is granted its rights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import environ
from django.conf import settings
from django.core.management.commands import migrate
from django.db import connections

from pointsystem.privileges import grant_privileges

# A migration that cannot get its lock gives up, before the queue behind it stops the whole service.
LOCK_TIMEOUT_MILLISECONDS = 10_000


class Command(migrate.Command):
    help = f"{migrate.Command.help} Connects with MIGRATE_DATABASE_URL where that is set."

    def handle(self, *args: Any, **options: Any) -> None:
        with as_owner(options["database"]):
            super().handle(*args, **options)
            if connections[options["database"]].vendor == "postgresql" and options["database"] == "default":
                grant_privileges()


@contextmanager
def as_owner(alias: str = "default") -> Iterator[None]:
    """Connect `alias` with the role of MIGRATE_DATABASE_URL inside the block."""
    if alias != "default" or not settings.MIGRATE_DATABASE_URL:
        yield
        return
    connection = connections[alias]
    before = connection.settings_dict
    owner = environ.Env.db_url_config(settings.MIGRATE_DATABASE_URL)
    given = owner.get("OPTIONS") or {}
    merged = {key: owner[key] or "" for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}
    connection.close()
    connection.settings_dict = {
        **before,
        **merged,
        "OPTIONS": {"options": f"-c lock_timeout={LOCK_TIMEOUT_MILLISECONDS}", **given},
    }
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = before
