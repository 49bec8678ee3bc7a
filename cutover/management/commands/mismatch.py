"""`mismatch list|resolve`: recorded differences between both sides, and what was done about them."""

import getpass
import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import mismatches
from cutover.models import Difference, FoundBy

EXIT_WRONG = 1
WRONG_USE = 2


class Command(BaseCommand):
    help = "List recorded differences between legacy and ledger, or resolve them with a reason."

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        listing = subcommands.add_parser("list", help="open mismatches, the oldest first")
        listing.add_argument("--account", metavar="NUMBER")
        listing.add_argument("--class", dest="difference", choices=Difference.values)
        listing.add_argument("--found-by", choices=FoundBy.values)
        listing.add_argument("--all", action="store_true", help="resolved ones too")
        listing.add_argument("--after", type=int, default=0, metavar="ID", help="go on behind this one")
        listing.add_argument("--limit", type=int, default=100, metavar="N")
        listing.add_argument("--json", action="store_true", help="print JSON")
        resolving = subcommands.add_parser("resolve", help="say that mismatches are dealt with, and how")
        resolving.add_argument("ids", type=int, nargs="*", metavar="ID")
        resolving.add_argument(
            "--found-by", choices=FoundBy.values, help="in place of ids: all that this look found"
        )
        resolving.add_argument(
            "--class", dest="difference", choices=Difference.values, help="with --found-by: of this class"
        )
        resolving.add_argument("--reason", required=True, help="what was found out, or done")
        resolving.add_argument(
            "--by", default=getpass.getuser(), help="who resolves them (default: %(default)s)"
        )
        resolving.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["subcommand"] == "list":
            self._list(options)
        else:
            self._resolve(options)

    def _list(self, options: dict[str, Any]) -> None:
        found = mismatches.listed(
            account_number=options["account"],
            difference=Difference(options["difference"]) if options["difference"] else None,
            found_by=FoundBy(options["found_by"]) if options["found_by"] else None,
            with_resolved=options["all"],
            after=options["after"],
            limit=max(1, options["limit"]),
        )
        if options["json"]:
            self.stdout.write(json.dumps([asdict(each) for each in found], default=_text))
            return
        if not found:
            self.stdout.write("No mismatch.")
        for each in found:
            state = f"  resolved by {each.resolved_by}: {each.resolution}" if each.resolved_at else ""
            self.stdout.write(
                f"{each.id}  {each.difference.value}  {each.account_number or '-'}  {each.subject}"
                f"  legacy {json.dumps(each.legacy)}  ledger {json.dumps(each.ledger)}  {each.why}"
                f"  ({each.found_by.value}){state}"
            )

    def _resolve(self, options: dict[str, Any]) -> None:
        if bool(options["ids"]) == bool(options["found_by"]) or (options["ids"] and options["difference"]):
            raise CommandError("Give ids, or --found-by.", returncode=WRONG_USE)
        try:
            if options["found_by"]:
                number = self._resolve_alike(options)
            else:
                number = mismatches.resolve(ids=options["ids"], actor=options["by"], reason=options["reason"])
        except mismatches.NotResolved as error:
            raise CommandError(str(error), returncode=EXIT_WRONG) from error
        if options["json"]:
            self.stdout.write(json.dumps({"resolved": number}))
        else:
            self.stdout.write(f"{number} resolved.")

    def _resolve_alike(self, options: dict[str, Any]) -> int:
        return mismatches.resolve_alike(
            found_by=FoundBy(options["found_by"]),
            difference=Difference(options["difference"]) if options["difference"] else None,
            actor=options["by"],
            reason=options["reason"],
        )


def _text(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
