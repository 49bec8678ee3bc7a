"""Make a client of the API and its key, or the next key of a client."""

import json
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ledger.clients import ClientRefused, create_client
from ledger.models import Scope

WRONG_USE = 2


class Command(BaseCommand):
    help = (
        "Makes a client of the API and prints its key, this once. For an existing name it makes the next "
        "key; the older ones keep working for the overlap."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="1 to 64 characters of A-Z a-z 0-9 . _ : -")
        parser.add_argument(
            "--scope",
            dest="scopes",
            action="append",
            required=True,
            choices=Scope.values,
            help="what the key may do; give it once for each scope",
        )
        parser.add_argument(
            "--overlap",
            type=float,
            default=24.0,
            metavar="HOURS",
            help="how long older keys of the client keep working (default: 24)",
        )
        parser.add_argument(
            "--requests-per-minute",
            type=int,
            metavar="N",
            help="refuse more than N requests a minute (default: no limit)",
        )
        parser.add_argument("--json", action="store_true", help="print {name, key, scopes} as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        limit = options["requests_per_minute"]
        if limit is not None and limit < 1:
            raise CommandError("--requests-per-minute must be at least 1.", returncode=WRONG_USE)
        try:
            made = create_client(
                name=options["name"],
                scopes=options["scopes"],
                overlap=timedelta(hours=options["overlap"]),
                requests_per_minute=limit,
            )
        except (ClientRefused, OverflowError) as refusal:
            raise CommandError(str(refusal), returncode=WRONG_USE) from refusal
        if options["json"]:
            self.stdout.write(json.dumps({"name": made.name, "key": made.key, "scopes": list(made.scopes)}))
            return
        self.stdout.write(f"client  {made.name}\nscopes  {' '.join(made.scopes)}\nkey     {made.key}")
        self.stdout.write("The key is shown this once. Send it as: Authorization: Bearer KEY")
        if made.overlapping_keys:
            self.stdout.write(
                f"{made.overlapping_keys} older key(s) work for {options['overlap']:g} more hours."
            )
