"""`manage.py refresh_balances`: put balances into Redis as PostgreSQL has them."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ledger import balances
from ledger.management.progress import Progress
from ledger.models import Account


class Command(BaseCommand):
    help = "Puts balances into Redis as PostgreSQL has them: of named accounts, of stale ones, or of all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("account_number", nargs="*", help="only these accounts; default: all")
        parser.add_argument("--stale", action="store_true", help="only what is marked as stale")

    def handle(self, *args: Any, **options: Any) -> None:
        numbers: list[str] = options["account_number"]
        if numbers and options["stale"]:
            raise CommandError("Name accounts, or give --stale, not both.", returncode=2)
        try:
            if options["stale"]:
                done = balances.refresh_stale()
            elif numbers:
                done = self._refresh_named(numbers)
            else:
                done = self._refresh_all()
        except balances.RedisUnavailable as error:
            raise CommandError(
                f"Redis does not answer; balances are read from PostgreSQL. {error}"
            ) from error
        self.stdout.write(f"{done} balances refreshed")

    def _refresh_named(self, numbers: list[str]) -> int:
        found = dict(Account.objects.filter(account_number__in=numbers).values_list("account_number", "id"))
        unknown = [number for number in numbers if number not in found]
        if unknown:
            raise CommandError(f"There are no accounts {', '.join(unknown)}.", returncode=2)
        return balances.refresh(account_ids=list(found.values()))

    def _refresh_all(self) -> int:
        progress = Progress(stderr=self.stderr, total=Account.objects.count(), unit="balances")
        done = balances.refresh_all(on_chunk=progress.show)
        progress.end()
        return done
