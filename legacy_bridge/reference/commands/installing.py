"""`manage.py legacy install` and `legacy marker`: what is put into the legacy database."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from legacy_bridge import marker
from legacy_bridge.reference.commands.subcommand import EXIT_WRONG_USE, Subcommand
from legacy_bridge.reference.installing import AlreadyInstalled, install
from legacy_bridge.unhurried import unhurried_session


class Install(Subcommand):
    name = "install"
    help = "Put the reference legacy, and the marker table, into the database of LEGACY_DATABASE_URL."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--replace",
            action="store_true",
            help="take the one that is there away first, with all its members and points",
        )
        parser.add_argument(
            "--if-missing", action="store_true", help="leave the one that is there as it is, and succeed"
        )

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        with unhurried_session() as session:
            try:
                install(session, replace=options["replace"])
            except AlreadyInstalled:
                if options["if_missing"]:
                    command.stdout.write("The reference legacy is there already.")
                    return
                raise CommandError(
                    "There is a point system in this database already. With --replace it is taken away first,"
                    " with all that is in it.",
                    returncode=EXIT_WRONG_USE,
                ) from None
        command.stdout.write("The reference legacy is installed.")


class Marker(Subcommand):
    name = "marker"
    help = "Make only the marker table, in a legacy of your own whose adapter settles by it."

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        with unhurried_session() as session:
            marker.create(session)
        command.stdout.write(f"The table {marker.TABLE} is there.")
