"""`sum_months`: brings the sums by month forward, checks them against the entries, or takes them anew."""

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from pointsystem.backoffice.finance import months

EXIT_WRONG = 1


class Command(BaseCommand):
    help = (
        "Bring the sums by month forward, which the pages of finance read. --check compares each with the "
        "entries, --rebuild takes them anew. Exit code 0: done; 1: a sum is wrong, and named; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--check", action="store_true", help="compare with the entries, write nothing")
        chosen.add_argument("--rebuild", action="store_true", help="take all sums anew from the entries")
        parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check"]:
            self._check(as_json=options["json"])
        elif options["rebuild"]:
            months.rebuild()
            self._say({"rebuilt": True}, "all sums were taken anew", as_json=options["json"])
        else:
            moved = months.bring_forward()
            self._say(
                {"brought_forward": moved},
                "the sums were brought forward" if moved else "there was nothing to add",
                as_json=options["json"],
            )

    def _check(self, *, as_json: bool) -> None:
        found = months.differences()
        wrong = [
            {
                "month": f"{each.month:%Y-%m}",
                "reason": each.reason,
                "kind": each.kind,
                "kept": each.kept,
                "entries": each.entries,
            }
            for each in found
        ]
        said = "every sum is what the entries say"
        if wrong:
            lines = (
                f"{each['month']} {each['reason']} {each['kind']}: {each['kept']} kept,"
                f" {each['entries']} by the entries"
                for each in wrong
            )
            said = "\n".join(lines)
        self._say({"differences": wrong}, said, as_json=as_json)
        if wrong:
            sys.exit(EXIT_WRONG)

    def _say(self, facts: dict[str, Any], words: str, *, as_json: bool) -> None:
        self.stdout.write(json.dumps(facts) if as_json else words)
