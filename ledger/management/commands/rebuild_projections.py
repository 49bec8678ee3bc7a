"""`rebuild_projections`: computes what is kept for speed again from the truth."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from ledger.errors import OperationNotFound
from ledger.projections import Rebuild, rebuild

EXIT_STILL_WRONG = 1
EXIT_WRONG_USE = 2


class Command(BaseCommand):
    help = (
        "Compute open lots and the counters of accounts again from entries, lots and allocations, and put "
        "right what differs; prints each change. Safe beside live traffic; running again changes nothing. "
        "Exit code 0: all is right now; 1: something is still wrong, and named; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would change")
        parser.add_argument("--account", metavar="ACCOUNT_NUMBER", help="only this account")
        parser.add_argument(
            "--after",
            type=int,
            default=0,
            metavar="ACCOUNT_ID",
            help="go on behind this account id, which an ended run printed last",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dry_run = options["dry_run"]
        try:
            run = rebuild(
                account_number=options["account"],
                after_account_id=options["after"],
                dry_run=dry_run,
                on_difference=lambda difference: self.stdout.write(difference.sentence()),
                on_batch=self._say_where,
            )
        except OperationNotFound as refusal:
            raise CommandError(refusal.detail, returncode=EXIT_WRONG_USE) from refusal
        except OperationalError as error:
            raise CommandError(
                f"An account stayed locked, or the database went away: {error}. Run it again: it goes on.",
                returncode=EXIT_STILL_WRONG,
            ) from error
        verb = "would change" if dry_run else "changed"
        self.stdout.write(
            f"looked at {run.accounts} accounts, {verb} {run.changed} projections of {run.changed_accounts},"
            f" {run.impossible} cannot be put right"
        )
        if run.impossible or (dry_run and run.changed):
            sys.exit(EXIT_STILL_WRONG)

    def _say_where(self, run: Rebuild) -> None:
        self.stdout.write(f"{run.accounts} accounts, up to account id {run.last_account_id}")
