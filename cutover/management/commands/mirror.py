"""How mirroring stands, and what a person does about messages that could not be applied."""

import getpass
import json
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover.mirroring import handling, status, tail
from cutover.mirroring.handling import Handled, Message, Preview
from cutover.models import Direction

WRONG_USE: Final = 2


class Command(BaseCommand):
    help = (
        "Show how mirroring stands, send messages again that could not be applied, or skip them. Messages "
        "are named by --message, by --account (its parked ones) or by --all-parked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        showing = subcommands.add_parser("status", help="backlog, rate and lag of both directions")
        showing.add_argument("--cohort", help="only of these accounts (default: all)")
        showing.add_argument("--json", action="store_true", help="print JSON")
        resending = subcommands.add_parser("resend", help="let parked messages be applied again")
        self._add_selection(resending)
        resending.add_argument("--reason", default="", help="why")
        skipping = subcommands.add_parser("skip", help="let accounts go on without their parked messages")
        self._add_selection(skipping)
        skipping.add_argument("--reason", default="", help="why (needed)")
        skipping.add_argument(
            "--row", metavar="ROW_ID", help="the legacy did it, as this row: nothing is missing there"
        )

    @staticmethod
    def _add_selection(parser: CommandParser) -> None:
        parser.add_argument("--message", type=int, action="append", default=[], metavar="ID")
        parser.add_argument("--account", metavar="NUMBER", help="the parked messages of this account")
        parser.add_argument("--all-parked", action="store_true", help="every parked message")
        parser.add_argument("--preview", action="store_true", help="show what would be sent, and end")
        parser.add_argument("--actor", default=getpass.getuser(), help="who does it (default: %(default)s)")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HAS_LEGACY:
            raise CommandError("There is no legacy: LEGACY_DATABASE_URL is not set.", returncode=WRONG_USE)
        if options["subcommand"] == "status":
            self._status(cohort=options["cohort"], as_json=options["json"])
            return
        try:
            self._handle_messages(options)
        except handling.ReasonMissing as refused:
            raise CommandError(str(refused), returncode=WRONG_USE) from refused
        except handling.HandlingRefused as refused:
            raise CommandError(str(refused), returncode=1) from refused

    # --- status -------------------------------------------------------------------------------------------
    def _status(self, *, cohort: str | None, as_json: bool) -> None:
        found = status.read(cohort=cohort)
        if as_json:
            self.stdout.write(json.dumps(status_as_json(found)))
            return
        for direction in Direction:
            backlog, flow = found.backlogs[direction], found.flows[direction]
            oldest = "" if backlog.oldest_seconds is None else f", the oldest {backlog.oldest_seconds:.1f} s"
            self.stdout.write(
                f"{direction.label}: {backlog.count} to deliver{oldest}, {backlog.parked} parked, "
                f"{backlog.only_recorded} only recorded; {flow.applied_per_second:.1f} applied a second, "
                f"lag {_seconds(flow.lag_p50_seconds)} p50, {_seconds(flow.lag_p95_seconds)} p95, "
                f"{_seconds(flow.lag_p99_seconds)} p99"
            )
        self.stdout.write(f"{found.held_accounts} accounts are held.")

    # --- resend and skip ----------------------------------------------------------------------------------
    def _handle_messages(self, options: dict[str, Any]) -> None:
        ids = self._chosen(options)
        if options["preview"]:
            self._show_previews(handling.preview(ids), as_json=options["json"])
            return
        common = {"actor": options["actor"], "reason": options["reason"]}
        if options["subcommand"] == "resend":
            handled = handling.resend(message_ids=ids, **common)
        elif options["row"]:
            if len(ids) != 1:
                raise CommandError("--row is of one message.", returncode=WRONG_USE)
            handled = [handling.settle_as_row(message_id=ids[0], row_id=options["row"], **common)]
        else:
            handled = handling.skip(message_ids=ids, **common)
        self._show_handled(handled, as_json=options["json"])

    def _chosen(self, options: dict[str, Any]) -> list[int]:
        ways = [bool(options["message"]), options["account"] is not None, options["all_parked"]]
        if sum(ways) != 1:
            raise CommandError(
                "Name the messages in one way: --message, --account or --all-parked.", returncode=WRONG_USE
            )
        if options["message"]:
            return list(dict.fromkeys(options["message"]))
        return [message.id for message in handling.parked(account_number=options["account"])]

    def _show_previews(self, previews: Sequence[Preview], *, as_json: bool) -> None:
        if as_json:
            shown = [
                {**message_as_json(each.message), "payload_now": each.payload, "legacy_row": each.row}
                for each in previews
            ]
            self.stdout.write(json.dumps({"messages": shown}))
            return
        for each in previews:
            self.stdout.write(
                f"{_line(each.message)}: {each.message.last_error}\n  now: {json.dumps(each.payload)}"
                + (f"\n  row: {json.dumps(each.row)}" if each.row else "")
            )
        self.stdout.write(f"{len(previews)} messages; nothing was changed.")

    def _show_handled(self, handled: Sequence[Handled], *, as_json: bool) -> None:
        if as_json:
            shown = [{**message_as_json(each.message), "outcome": each.outcome.value} for each in handled]
            self.stdout.write(json.dumps({"messages": shown}))
            return
        for each in handled:
            self.stdout.write(f"{_line(each.message)}: {each.outcome.value}")
        if not handled:
            self.stdout.write("No message is parked.")


def _line(message: Message) -> str:
    return (
        f"{message.id}  {message.direction.value}  account {message.account_number}, operation "
        f"{message.operation_id}"
    )


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def message_as_json(message: Message) -> dict[str, Any]:
    """A message as the commands print it."""
    return {
        "id": message.id,
        "account_number": message.account_number,
        "direction": message.direction.value,
        "operation_id": str(message.operation_id),
        "state": message.state.value,
        "created_at": message.created_at.isoformat(),
        "attempts": message.attempts,
        "failure": message.failure or None,
        "last_error": message.last_error,
        "payload": message.payload,
    }


def status_as_json(found: status.Status) -> dict[str, Any]:
    """How mirroring stands, with null for what is not known."""
    shown: dict[str, Any] = {}
    for direction in Direction:
        backlog, flow = found.backlogs[direction], found.flows[direction]
        shown[direction.value] = {
            "count": backlog.count,
            "oldest_seconds": backlog.oldest_seconds,
            "parked": backlog.parked,
            "only_recorded": backlog.only_recorded,
            "applied_per_second": flow.applied_per_second,
            "lag_seconds": {
                "p50": flow.lag_p50_seconds,
                "p95": flow.lag_p95_seconds,
                "p99": flow.lag_p99_seconds,
            },
        }
    return {
        **shown,
        "held": found.held_accounts,
        "legacy_read_seconds_ago": tail.freshness_seconds(),
        "legacy_read_error": tail.last_error() or None,
    }
