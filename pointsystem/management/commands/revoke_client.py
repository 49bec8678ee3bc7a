"""End all keys of a client, at once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger.clients import ClientRefused, revoke_client

WRONG_USE = 2


class Command(BaseCommand):
    help = "Ends all keys of a client of the API. Web processes refuse them within a second."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            revoked = revoke_client(name=options["name"])
        except ClientRefused as refusal:
            raise CommandError(str(refusal), returncode=WRONG_USE) from refusal
        self.stdout.write(f"{revoked} key(s) of {options['name']} were revoked.")
