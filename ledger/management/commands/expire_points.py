"""`manage.py expire_points`: post what has lapsed."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ledger import clock, expiry
from ledger.door import face
from ledger.errors import ValidationRefused
from ledger.management.progress import Progress


class Command(BaseCommand):
    help = "Posts the lots that have lapsed, one entry per account. Running it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--as-of",
            metavar="T",
            help="only what lapsed at or before this instant, in RFC 3339 with offset; default: now",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        as_of = _instant(options["as_of"]) if options["as_of"] else clock.now()
        progress = Progress(stderr=self.stderr, total=expiry.count_lapsed(as_of=as_of), unit="lots")
        try:
            run = face().expire_points(as_of=as_of, on_batch=lambda run: progress.show(run.lots))
        except ValidationRefused as refusal:
            raise CommandError(f"--as-of: {refusal.detail}", returncode=2) from refusal
        progress.end()
        self.stdout.write(f"{run.points} points of {run.lots} lots expired on {run.accounts} accounts")
        if run.skipped_accounts:
            self.stdout.write(f"{run.skipped_accounts} accounts were busy; the next run takes them")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            return instant
    except ValueError:
        pass
    raise CommandError(
        f"--as-of {text} is not an instant with offset, such as 2026-03-01T00:00:00+09:00.", returncode=2
    )
