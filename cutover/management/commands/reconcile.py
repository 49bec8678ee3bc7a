"""`reconcile`: the totals of a month on both sides, by kind and reason; and down to account and row."""

import json
import re
import sys
from dataclasses import asdict
from datetime import date
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import reconciling
from cutover.reconciling import Month
from legacy_bridge.errors import LegacyError

EXIT_WRONG = 1
WRONG_USE = 2
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


class Command(BaseCommand):
    help = (
        "Compare the rows and points of a month, by kind and reason, legacy beside ledger. Exit code 0: "
        "equal, or every difference is explained; 1: not; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--month", metavar="YYYY-MM", help="default: this month")
        parser.add_argument(
            "--accounts", action="store_true", help="the accounts of the month that differ, at most 100"
        )
        parser.add_argument("--account", metavar="NUMBER", help="row by row, what an account has")
        parser.add_argument("--json", action="store_true", help="JSON on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HAS_LEGACY:
            raise CommandError("There is no legacy: LEGACY_DATABASE_URL is not set.", returncode=WRONG_USE)
        month = _month(options["month"])
        try:
            if options["account"]:
                is_equal = self._account(month, options["account"], as_json=options["json"])
            elif options["accounts"]:
                is_equal = self._accounts(month, as_json=options["json"])
            else:
                is_equal = self._month(reconciling.month(month), as_json=options["json"])
        except LegacyError as error:
            raise CommandError(str(error), returncode=EXIT_WRONG) from error
        if not is_equal:
            sys.exit(EXIT_WRONG)

    def _month(self, found: Month, *, as_json: bool) -> bool:
        if as_json:
            lines = [{**asdict(line), "is_equal": line.is_equal} for line in found.lines]
            told = {"month": found.name, "is_explained": found.is_explained, "lines": lines}
            self.stdout.write(json.dumps(told))
            return found.is_explained
        self.stdout.write(
            f"{found.name}  {'kind':14} {'reason':22} {'legacy rows':>12} {'points':>14}"
            f" {'ledger rows':>12} {'points':>14} {'difference':>12}"
        )
        for line in found.lines:
            self.stdout.write(
                f"         {line.kind:14} {line.reason or '-':22} {line.legacy_rows:12,}"
                f" {line.legacy_points:14,} {line.ledger_rows:12,} {line.ledger_points:14,}"
                f" {line.ledger_points - line.legacy_points:12,}  {line.explanation}".rstrip()
            )
        return found.is_explained

    def _accounts(self, month: date, *, as_json: bool) -> bool:
        found = reconciling.accounts(month)
        if as_json:
            self.stdout.write(json.dumps([asdict(line) for line in found]))
            return not found
        for line in found:
            self.stdout.write(
                f"{line.account_number}  legacy {line.legacy_rows:,} rows {line.legacy_points:,} points,"
                f" ledger {line.ledger_rows:,} rows {line.ledger_points:,} points"
            )
        if not found:
            self.stdout.write("Every account has the same rows and points.")
        return not found

    def _account(self, month: date, number: str, *, as_json: bool) -> bool:
        found = reconciling.operations(month, account_number=number)
        if as_json:
            self.stdout.write(json.dumps([{**asdict(line), "is_equal": line.is_equal} for line in found]))
        else:
            for line in found:
                sign = "=" if line.is_equal else "!"
                self.stdout.write(
                    f"{sign} row {line.row_id or '-'}  operation {line.operation_id or '-'}  {line.kind}"
                    f"  legacy {line.legacy_points}  ledger {line.ledger_points}"
                )
        return all(line.is_equal for line in found)


def _month(text: str | None) -> date:
    if text is None:
        return reconciling.this_month()
    if not _MONTH.fullmatch(text) or text.startswith("0000"):
        raise CommandError("--month is a month such as 2026-03.", returncode=WRONG_USE)
    return date.fromisoformat(f"{text}-01")
