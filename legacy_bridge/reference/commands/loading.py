"""`manage.py legacy load`: fills the reference legacy, with real orders or with generated history."""

import argparse
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from legacy_bridge.reference.commands.subcommand import EXIT_WRONG_USE, Subcommand
from legacy_bridge.reference.generating import AlreadyGenerated, generate
from legacy_bridge.reference.installing import is_installed
from legacy_bridge.reference.orders import FileInvalid, Order, read_orders, replay
from legacy_bridge.reference.progress import Progress
from legacy_bridge.sessions import Session
from legacy_bridge.unhurried import unhurried_session


class Load(Subcommand):
    name = "load"
    help = (
        "Fill the reference legacy, while nobody else uses it: with --orders, or with --accounts and --rows."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        orders = parser.add_argument_group("real orders, through the procedures, at their own dates")
        orders.add_argument("--orders", type=Path, metavar="FILE", help="a file of the CDNOW format")
        orders.add_argument(
            "--limit", type=_positive, metavar="N", help="only the first N orders of the file"
        )
        orders.add_argument(
            "--last-day",
            type=date.fromisoformat,
            metavar="DAY",
            help="move all orders so that the last one falls on this day",
        )
        made = parser.add_argument_group("generated history of any size")
        made.add_argument("--accounts", type=_positive, metavar="N", help="how many members")
        made.add_argument("--rows", type=_positive, metavar="M", help="about how many rows of history")
        made.add_argument(
            "--seed", type=_seed, default=1, metavar="S", help="0 to 9999; the same gives the same"
        )
        made.add_argument(
            "--flawed",
            type=_share,
            default=0.0,
            metavar="SHARE",
            help="the share of members, 0 to 1, whose points and history do not add up",
        )

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        is_generated = options["accounts"] is not None and options["rows"] is not None
        if (options["orders"] is not None) == is_generated or (
            not is_generated and (options["accounts"] or options["rows"])
        ):
            raise CommandError("Give --orders FILE, or --accounts N and --rows M.", returncode=EXIT_WRONG_USE)
        orders = None if is_generated else _orders(options)
        with unhurried_session() as session:
            if not is_installed(session):
                raise CommandError("First: manage.py legacy install", returncode=EXIT_WRONG_USE)
            if orders is None:
                _generate(session, command, options)
            else:
                _replay(session, command, orders)


def _orders(options: dict[str, Any]) -> list[Order]:
    try:
        return read_orders(options["orders"], limit=options["limit"], last_day=options["last_day"])
    except (OSError, FileInvalid) as error:
        raise CommandError(f"{options['orders']}: {error}", returncode=EXIT_WRONG_USE) from error


def _replay(session: Session, command: BaseCommand, orders: list[Order]) -> None:
    progress = Progress(out=command.stderr, total=len(orders), unit="orders")
    done = replay(session, orders, on_order=progress.show)
    progress.end()
    command.stdout.write(f"{done.orders:,} orders in {done.calls:,} calls, {done.refused:,} refused")


def _generate(session: Session, command: BaseCommand, options: dict[str, Any]) -> None:
    progress = Progress(out=command.stderr, total=options["accounts"], unit="members")
    try:
        made = generate(
            session,
            accounts=options["accounts"],
            rows=options["rows"],
            seed=options["seed"],
            flawed_share=options["flawed"],
            on_members=progress.show,
        )
    except AlreadyGenerated:
        raise CommandError(
            f"Members of seed {options['seed']} are there already; take another --seed.",
            returncode=EXIT_WRONG_USE,
        ) from None
    progress.end()
    command.stdout.write(
        f"{made.members:,} members, {made.lots:,} lots, {made.rows:,} rows of history, {made.flawed:,} flawed"
    )


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return number


def _seed(value: str) -> int:
    number = int(value)
    if not 0 <= number <= 9999:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 9999")
    return number


def _share(value: str) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 1")
    return share
