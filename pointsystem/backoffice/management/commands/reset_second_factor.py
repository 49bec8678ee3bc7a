"""Take a lost authenticator away from a person, so that the next sign-in sets up another."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from pointsystem.backoffice.sign_in import second_factor

WRONG_USE = 2


class Command(BaseCommand):
    help = "Takes the authenticator of a person away, and writes it to the audit trail."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--reason", required=True, help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}.", returncode=WRONG_USE)
        count = second_factor.remove(user=user, reason=options["reason"])
        self.stdout.write(
            f"{user.get_username()} has no authenticator any more."
            if count
            else f"{user.get_username()} had no authenticator."
        )
