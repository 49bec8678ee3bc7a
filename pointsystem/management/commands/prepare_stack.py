"""What an embedded stack needs before its web server starts: tables, and somebody who can sign in."""

import json
import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import transaction

ADMINISTRATOR = "admin"


class Command(BaseCommand):
    help = (
        "Migrate, and make a first administrator where there is none. Prints JSON; used by `up` and `demo`."
    )
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=0)
        self.stdout.write(json.dumps({"administrator": first_administrator()}))


def first_administrator() -> dict[str, str] | None:
    """The sign-in of an administrator made just now, or None where there is one already."""
    users = get_user_model().objects
    with transaction.atomic():
        if users.filter(is_superuser=True).exists():
            return None
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=ADMINISTRATOR, email="", password=password)
    return {"username": ADMINISTRATOR, "password": password}
