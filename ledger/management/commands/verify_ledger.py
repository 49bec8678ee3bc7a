"""`verify_ledger`: proves every invariant of the ledger again, and names what is wrong."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ledger.verification import Report, verify

EXIT_BREACH = 1


class Command(BaseCommand):
    help = (
        "Re-prove every invariant of the ledger, its projections and its cache. "
        "Read-only, beside live traffic. "
        "Exit code 0: all hold; 1: something is wrong, and named; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="the report as JSON on standard output")
        parser.add_argument(
            "--examples",
            type=int,
            default=5,
            metavar="N",
            help="how many examples of each breach (default 5)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        as_json = options["json"]
        # Progress goes where it does not mix with the report.
        say = self.stderr if as_json else self.stdout
        report = verify(examples=max(1, options["examples"]), say=lambda text: say.write(text))
        if as_json:
            self.stdout.write(json.dumps(report.to_json(), default=str, indent=2))
        else:
            self._print(report)
        if not report.is_clean:
            sys.exit(EXIT_BREACH)

    def _print(self, report: Report) -> None:
        for skipped in report.skipped:
            self.stdout.write(f"SKIPPED {skipped.invariant} {skipped.check}: {skipped.because}")
        for breach in report.breaches:
            self.stdout.write(self.style.ERROR(f"BREACH {breach.sentence()}"))
        found = f"{len(report.breaches)} checks failed" if report.breaches else "every invariant holds"
        self.stdout.write(
            f"{found}: {len(report.checked)} checks, {len(report.skipped)} skipped, in {report.seconds:.1f} s"
        )
