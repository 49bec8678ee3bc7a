"""`migrate_legacy`: the whole history of the legacy into the ledger, or what became different since."""

import getpass
import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import migrating
from cutover.management.progress import AccountsLine
from cutover.migrating import Progress
from cutover.migrating.running import ACCOUNTS_AT_ONCE
from legacy_bridge.errors import LegacyError

EXIT_WRONG = 1
WRONG_USE = 2
_MINUTES_AN_HOUR = 60


class Command(BaseCommand):
    help = (
        "Copy the full history of every account of the legacy into the ledger, batch by batch, beside live "
        "traffic. It goes on where it was stopped; done again, it changes nothing. With --delta: only what "
        "became different since. "
        "Exit code 0: done; 1: it stopped, time was up, or accounts are left; 2: wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch",
            type=int,
            default=ACCOUNTS_AT_ONCE,
            metavar="N",
            help="accounts at once (default %(default)s)",
        )
        parser.add_argument("--rate", type=float, metavar="ROWS", help="at most so many rows a second")
        parser.add_argument("--delta", action="store_true", help="only accounts with new rows")
        parser.add_argument(
            "--full", action="store_true", help="with --delta: compare the lots of every account"
        )
        parser.add_argument(
            "--window", type=int, metavar="MINUTES", help="end after so many minutes; the next goes on there"
        )
        parser.add_argument("--json", action="store_true", help="how far it is, as JSON on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        line = AccountsLine(self.stderr)
        try:
            done = migrating.run(
                batch=options["batch"],
                rate=options["rate"],
                is_delta=options["delta"],
                is_full=options["full"],
                seconds=None if options["window"] is None else options["window"] * 60.0,
                actor=getpass.getuser(),
                on_batch=line.show,
            )
        except migrating.NoHistory as error:
            raise CommandError(str(error), returncode=WRONG_USE) from error
        except (migrating.RunIsHeld, migrating.Overtaken, LegacyError) as error:
            raise CommandError(str(error), returncode=EXIT_WRONG) from error
        finally:
            line.end()
        if options["json"]:
            self.stdout.write(json.dumps(as_json(done), default=str))
        else:
            self._print(done)
        if done.finished_at is None or done.counts.get("left") or done.counts.get("given_up"):
            sys.exit(EXIT_WRONG)

    def _print(self, done: Progress) -> None:
        state = "done" if done.finished_at else "time is up; it goes on from there"
        counts = {name: done.counts.get(name, 0) for name in ("corrections", "left", "given_up")}
        self.stdout.write(
            f"{done.kind.label}: {state}. {done.accounts_done:,} accounts, {done.rows_done:,} rows, "
            f"{counts['corrections']:,} corrections, {counts['left']:,} left for calls under way, "
            f"{counts['given_up']:,} given up"
        )


def _check(options: dict[str, Any]) -> None:
    wrong = None
    if not settings.HAS_LEGACY:
        wrong = "There is no legacy: LEGACY_DATABASE_URL is not set."
    elif options["batch"] < 1:
        wrong = "--batch must be at least 1."
    elif options["rate"] is not None and options["rate"] <= 0:
        wrong = "--rate must be more than 0."
    elif options["window"] is not None and not 1 <= options["window"] <= _MINUTES_AN_HOUR:
        wrong = "--window must be 1 to 60 minutes."
    elif options["full"] and not options["delta"]:
        wrong = "--full is for --delta."
    if wrong:
        raise CommandError(wrong, returncode=WRONG_USE)


def as_json(done: Progress) -> dict[str, Any]:
    return {
        "run": done.id,
        "kind": done.kind.value,
        "accounts_total": done.accounts_total,
        "accounts_done": done.accounts_done,
        "rows_done": done.rows_done,
        "counts": dict(done.counts),
        "started_at": done.started_at.isoformat(),
        "finished_at": done.finished_at.isoformat() if done.finished_at else None,
        "seconds_left": done.seconds_left,
        "last_error": done.last_error,
    }
