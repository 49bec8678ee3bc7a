"""`manage.py legacy`: install, fill and watch a legacy. Each subcommand is a class of its own."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from legacy_bridge.errors import LegacyError
from legacy_bridge.reference.commands import EXIT_FAILED, EXIT_WRONG_USE, subcommands
from legacy_bridge.sessions import is_configured


class Command(BaseCommand):
    help = (
        "Work on the legacy of LEGACY_DATABASE_URL. Exit codes: 0 done, 1 found something wrong, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        kinds = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, subcommand in subcommands().items():
            subcommand.add_arguments(
                kinds.add_parser(name, help=subcommand.help, description=subcommand.help)
            )

    def handle(self, *args: Any, **options: Any) -> None:
        subcommand = subcommands()[options["subcommand"]]
        if subcommand.needs_legacy and not is_configured():
            raise CommandError(
                "There is no legacy: set LEGACY_DATABASE_URL, such as"
                " postgres://user:password@127.0.0.1:5432/legacy or mysql://user:password@127.0.0.1:3306/legacy.",
                returncode=EXIT_WRONG_USE,
            )
        try:
            subcommand.handle(self, options)
        except LegacyError as error:
            raise CommandError(str(error), returncode=EXIT_FAILED) from error
