"""`verify_migration`: both sides of every account, lot by lot, and of every month."""

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import migrating, verifying
from cutover.management.progress import AccountsLine
from cutover.verifying import Result
from legacy_bridge.errors import LegacyError

EXIT_WRONG = 1
WRONG_USE = 2


class Command(BaseCommand):
    help = (
        "Compare legacy and ledger: balance and lots of every account, rows and points of every month. It "
        "goes on where it was stopped. Exit code 0: nothing real is different; 1: something is, or it "
        "stopped; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sample", type=int, metavar="N", help="about so many accounts, and no months")
        parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HAS_LEGACY:
            raise CommandError("There is no legacy: LEGACY_DATABASE_URL is not set.", returncode=WRONG_USE)
        if options["sample"] is not None and options["sample"] < 1:
            raise CommandError("--sample must be at least 1.", returncode=WRONG_USE)
        line = AccountsLine(self.stderr)
        try:
            result = verifying.run(sample=options["sample"], on_batch=line.show)
        except migrating.NoHistory as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        except (migrating.RunIsHeld, migrating.Overtaken, LegacyError) as error:
            raise CommandError(str(error), returncode=EXIT_WRONG) from error
        finally:
            line.end()
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(result)))
        else:
            counts = ", ".join(f"{kind.label}: {number:,}" for kind, number in result.differences.items())
            self.stdout.write(f"{result.accounts:,} accounts compared. Differences: {counts}")
            if not result.is_clean:
                self.stdout.write("See: manage.py mismatch list --class real")
        if not result.is_clean:
            sys.exit(EXIT_WRONG)


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "finished_at": result.finished_at.isoformat(),
        "accounts": result.accounts,
        "is_sample": result.is_sample,
        "differences": {kind.value: number for kind, number in result.differences.items()},
        "real_open": result.real_open,
        "is_clean": result.is_clean,
    }
