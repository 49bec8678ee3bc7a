"""`manage.py client_activity`: which client calls which operation of the API, when last and how much."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.timezone import localtime

from ledger import client_activity, clock
from ledger.models import Client, ClientActivity

WRONG_USE = 2
_HEAD = ("CLIENT", "OPERATION", "LAST CALL", "TODAY", "7 DAYS", "CALLS", "REFUSED", "POINTS")


class Command(BaseCommand):
    help = (
        "Tells which client calls which operation of the API, when last and how much; calls of the last few"
        " seconds may not be written yet."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--client", metavar="NAME", help="only this client")
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        clients = Client.objects.filter(is_built_in=False).order_by("name")
        found = client_activity.activities()
        if options["client"] is not None:
            clients = clients.filter(name=options["client"])
            if not clients:
                raise CommandError(f"There is no client {options['client']!r}.", returncode=WRONG_USE)
            found = found.filter(client__name=options["client"])
        rows = list(found)
        silent = sorted({client.name for client in clients} - {row.client.name for row in rows})
        if options["json"]:
            self.stdout.write(json.dumps({"activities": [_record(row) for row in rows], "never": silent}))
            return
        lines = [_HEAD, *(_line(row) for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        for line in lines:
            names = (text.ljust(width) for text, width in zip(line[:3], widths[:3], strict=True))
            numbers = (text.rjust(width) for text, width in zip(line[3:], widths[3:], strict=True))
            self.stdout.write("  ".join([*names, *numbers]))
        if silent:
            self.stdout.write(f"Never called: {', '.join(silent)}")


def _record(row: ClientActivity) -> dict[str, Any]:
    return {
        "client": row.client.name,
        "operation": row.operation,
        "last_called_at": row.last_called_at.isoformat(),
        "calls_today": row.calls_today,  # type: ignore[attr-defined]
        "calls_7_days": row.calls_7_days,  # type: ignore[attr-defined]
        "calls": row.calls,
        "refused": row.refused,
        "points": row.points,
    }


def _line(row: ClientActivity) -> tuple[str, ...]:
    record = _record(row)
    last = localtime(row.last_called_at, clock.programme_zone()).isoformat(sep=" ", timespec="seconds")
    numbers = [record[name] for name in ("calls_today", "calls_7_days", "calls", "refused", "points")]
    # A call that does not say its points shows none, and not 0.
    return (
        row.client.name,
        row.operation,
        last,
        *("-" if number is None else f"{number:,}" for number in numbers),
    )
