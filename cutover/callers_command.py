"""`manage.py legacy callers`: who still calls the procedures of the legacy, and who uses the API."""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from legacy_bridge.reference.commands import EXIT_WRONG_USE, Subcommand

if TYPE_CHECKING:
    from cutover.callers_report import ClientLine, Line, Report

_SAY_EVERY_SECONDS: Final = 10.0


class Callers(Subcommand):
    name = "callers"
    help = (
        "Tell who calls the procedures directly: rows of the legacy's history that no call of the API made,"
        " by procedure and caller, and when each client of the API called last. Reads first what came since"
        " the last time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        window = parser.add_mutually_exclusive_group()
        window.add_argument(
            "--since", type=date.fromisoformat, metavar="DAY", help="only rows from this day on (2026-01-31)"
        )
        window.add_argument(
            "--days", type=_positive, metavar="N", help="only rows of the last N days, today among them"
        )
        parser.add_argument(
            "--rescan",
            action="store_true",
            help="forget what was counted and read again, from the day that is given, or all of the history",
        )
        parser.add_argument(
            "--no-scan", action="store_true", help="tell what is counted, and do not ask the legacy"
        )
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, command: BaseCommand, options: dict[str, Any]) -> None:
        # Models and settings are there only now: this class is made while applications are loaded.
        from cutover import callers, callers_report
        from ledger import clock

        if options["rescan"] and options["no_scan"]:
            raise CommandError("Give --rescan or --no-scan, not both.", returncode=EXIT_WRONG_USE)
        now = clock.now()
        since = options["since"]
        if options["days"] is not None:
            since = callers.today(now) - timedelta(days=options["days"] - 1)
        try:
            callers.check_history()
            if options["rescan"]:
                callers.rescan(since=since)
            if not options["no_scan"]:
                callers.scan(now=now, since=since, on_batch=_Said(command).say)
        except callers.NoHistory as error:
            raise CommandError(str(error), returncode=EXIT_WRONG_USE) from error
        found = callers_report.report(since=since)
        if options["json"]:
            command.stdout.write(json.dumps(callers_report.as_json(found)))
            return
        for line in _text(found):
            command.stdout.write(line)


class _Said:
    """How far a long scan is: there is no telling how many rows are still to come."""

    def __init__(self, command: BaseCommand) -> None:
        self._command = command
        self._said = time.monotonic()

    def say(self, state: Any) -> None:
        from cutover.callers_report import local_text

        if time.monotonic() - self._said < _SAY_EVERY_SECONDS:
            return
        self._said = time.monotonic()
        self._command.stderr.write(f"{state.rows_read:,} rows read, up to {local_text(state.watermark_at)}")


def _text(found: "Report") -> Iterable[str]:
    from cutover.callers_report import local_text

    scan = found.scan
    if scan is None:
        yield "The history of the legacy was never read: nothing is known of who calls its procedures."
    else:
        end = "all of it" if scan.counted_since is None else f"rows since {local_text(scan.counted_since)}"
        yield f"History of the legacy: {end}, last read to its end: {local_text(scan.reached_end_at)}."
        if scan.is_behind:
            yield f"There are rows that are not counted yet. {scan.last_error}".rstrip()
        if found.since is not None:
            yield f"Told of: rows since {found.since.isoformat()}."
            if not found.reaches_back:
                yield "What is older than the rows that were read is not known."
        yield from _section("Called directly", found.direct)
        yield from _section(
            "Not known yet (the account has an operation that is not settled)", found.undecided
        )
        yield from _section("Through the API", found.through_api)
    yield ""
    yield "Clients of the API"
    yield from _table(
        ("CLIENT", "LAST CALL", "CALLS"), [_client(client) for client in found.clients], texts=2
    )


def _section(title: str, lines: Sequence["Line"]) -> Iterable[str]:
    from cutover.callers_report import local_text

    yield ""
    yield title
    rows = [
        (
            line.procedure or "(no procedure)",
            line.caller or "(not kept)",
            local_text(line.first_at),
            local_text(line.last_at),
            f"{line.rows:,}",
            f"{line.points:,}",
        )
        for line in lines
    ]
    yield from _table(("PROCEDURE", "CALLER", "FIRST", "LAST", "ROWS", "POINTS"), rows, texts=4)


def _client(client: "ClientLine") -> tuple[str, ...]:
    from cutover.callers_report import local_text

    return client.name, local_text(client.last_called_at), f"{client.calls:,}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, texts: int) -> Iterable[str]:
    """Texts to the left, numbers to the right."""
    if not rows:
        yield "  none"
        return
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [
            text.ljust(width) if column < texts else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()


def _positive(value: str) -> int:
    number = int(value)
    if not 1 <= number <= 36_500:
        raise argparse.ArgumentTypeError(f"{value} is not between 1 and 36500")
    return number
