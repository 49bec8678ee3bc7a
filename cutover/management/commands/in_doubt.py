"""What became of these operations only a person can tell."""

import getpass
import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import doubts

WRONG_USE = 2


class Command(BaseCommand):
    help = (
        "List operations whose outcome in the legacy is unknown and cannot be found out by asking, or decide "
        "one after looking into the legacy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        listing = subcommands.add_parser("list", help="the operations in doubt, the oldest first")
        listing.add_argument("--json", action="store_true", help="print JSON")
        deciding = subcommands.add_parser("decide", help="say what became of one")
        deciding.add_argument("operation_id", type=UUID)
        outcome = deciding.add_mutually_exclusive_group(required=True)
        outcome.add_argument("--applied", metavar="ROW_ID", help="the legacy did it, as this row")
        outcome.add_argument(
            "--not-applied", action="store_true", help="it did not, and never will: the key is free again"
        )
        deciding.add_argument("--reason", required=True, help="how you know")
        deciding.add_argument("--by", default=getpass.getuser(), help="who decides (default: %(default)s)")
        deciding.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HAS_LEGACY:
            raise CommandError("There is no legacy: LEGACY_DATABASE_URL is not set.", returncode=WRONG_USE)
        if options["subcommand"] == "list":
            self._list(as_json=options["json"])
        else:
            self._decide(options)

    def _list(self, *, as_json: bool) -> None:
        found = doubts.waiting()
        if as_json:
            self.stdout.write(json.dumps([_as_json(doubt) for doubt in found]))
            return
        if not found:
            self.stdout.write("No operation is in doubt.")
        for doubt in found:
            self.stdout.write(
                f"{doubt.operation_id}  {doubt.kind} of {doubt.points} points, account "
                f"{doubt.account_number}, since {doubt.since.isoformat()}: {doubt.why} {doubt.evidence or ''}"
            )

    def _decide(self, options: dict[str, Any]) -> None:
        common = {
            "operation_id": options["operation_id"],
            "actor": options["by"],
            "reason": options["reason"],
        }
        try:
            if options["not_applied"]:
                doubts.decide_not_applied(**common)
            else:
                doubts.decide_applied(**common, row_id=options["applied"])
        except doubts.DecisionRefused as refused:
            raise CommandError(str(refused), returncode=1) from refused
        decided = "not applied" if options["not_applied"] else "applied"
        if options["json"]:
            self.stdout.write(json.dumps({"operation_id": str(options["operation_id"]), "decided": decided}))
        else:
            self.stdout.write(f"{options['operation_id']}: {decided}.")


def _as_json(doubt: doubts.Doubt) -> dict[str, Any]:
    return {
        "operation_id": str(doubt.operation_id),
        "account_number": doubt.account_number,
        "kind": doubt.kind,
        "points": doubt.points,
        "reference": doubt.reference,
        "since": doubt.since.isoformat(),
        "attempts": doubt.attempts,
        "why": doubt.why,
        "evidence": doubt.evidence,
    }
