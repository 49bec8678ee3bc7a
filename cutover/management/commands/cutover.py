"""Who decides, what would happen, and the acts that change it."""

import getpass
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from cutover import switching
from cutover.models import DEFAULT_COHORT
from cutover.switching import Assigned, Check, Choice, Done, Plan, SwitchRefused, assigning, plans
from cutover.switching.errors import BadAssignment, UnknownCohort

WRONG_USE: Final = 2
FOUND_WRONG: Final = 1


class Command(BaseCommand):
    help = "Tell who decides, show what the next step would do, and take it."

    def add_arguments(self, parser: CommandParser) -> None:
        subcommands = parser.add_subparsers(dest="subcommand", required=True)

        def add(name: str, text: str) -> CommandParser:
            added: CommandParser = subcommands.add_parser(name, help=text, description=text)
            added.add_argument(
                "--cohort", default=DEFAULT_COHORT, help="whose accounts (default: %(default)s)"
            )
            added.add_argument("--json", action="store_true", help="print JSON")
            return added

        def add_act(name: str, text: str) -> CommandParser:
            added = add(name, text)
            added.add_argument("--reason", default="", help="why; the journal keeps it")
            added.add_argument("--actor", default=getpass.getuser(), help="who acts (default: %(default)s)")
            added.add_argument(
                "--expected-epoch", type=int, metavar="N", help="refuse when the route has another epoch"
            )
            return added

        add("status", "who decides, what is on its way, and what a way back would lose")
        switched = add_act("capture", "record what the legacy decides, or cease to")
        switched.add_argument("state", choices=["on", "off"], nargs="?", default="on")
        add("preflight", "every check before the next step; 1 when one is red")
        _may_assign(add("plan", "what a step would do, with the digest of the plan; nothing is changed"))
        approving = add_act("approve", "say yes, as a second person, to the plan of a digest")
        approving.add_argument("--digest", required=True, help="of the plan, as `plan` prints it")
        _may_assign(approving)
        _may_override(add_act("advance", "go one stage on"))
        add_act("rollback", "go one stage back, at once")
        freezing = add_act("freeze", "refuse spends and queue earns and cancels, for a while")
        freezing.add_argument(
            "--minutes",
            type=float,
            default=switching.FREEZE_MINUTES,
            help="it ends by itself after so many (default: %(default)g)",
        )
        add_act("thaw", "end a freeze")
        moved = add_act("assign", "move accounts to another cohort, which is made when it is not there")
        _choice(moved)
        _may_override(moved)
        _may_override(add_act("finish", "end the cutover: there is no way back, and two persons are needed"))
        listed = add("journal", "what was done and refused, by whom and why, the newest first")
        listed.add_argument("--limit", type=int, default=50, help="how many (default: %(default)s)")
        listed.add_argument("--all-cohorts", action="store_true", help="of every cohort")
        listed.add_argument("--csv", action="store_true", help="print CSV")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.HAS_LEGACY:
            raise CommandError("There is no legacy: LEGACY_DATABASE_URL is not set.", returncode=WRONG_USE)
        does: dict[str, Callable[[dict[str, Any]], None]] = {
            "status": self._status,
            "capture": self._capture,
            "preflight": self._preflight,
            "plan": self._plan,
            "approve": self._approve,
            "assign": self._assign,
            "freeze": self._freeze,
            "journal": self._journal,
        }
        try:
            does.get(options["subcommand"], self._act)(options)
        except (UnknownCohort, BadAssignment) as refused:
            raise self._refused(refused, options, returncode=WRONG_USE) from refused
        except SwitchRefused as refused:
            raise self._refused(refused, options, returncode=FOUND_WRONG) from refused

    def _refused(self, refused: SwitchRefused, options: dict[str, Any], *, returncode: int) -> CommandError:
        if options["json"]:
            self.stdout.write(json.dumps({"refused": refused.details}))
        return CommandError(str(refused), returncode=returncode)

    # --- looking -----------------------------------------------------------------------------------------
    def _status(self, options: dict[str, Any]) -> None:
        record = switching.as_json(switching.status(cohort=options["cohort"]))
        self._say(record, _status_text(record), as_json=options["json"])

    def _preflight(self, options: dict[str, Any]) -> None:
        found = switching.plan(cohort=options["cohort"])
        record = {"cohort": found.cohort, "from_stage": found.from_stage, "to_stage": found.to_stage}
        checks = [check.as_record() for check in found.checks]
        self._say({**record, "checks": checks}, _checks_text(found.checks), as_json=options["json"])
        if found.red:
            raise CommandError(f"{len(found.red)} checks are red.", returncode=FOUND_WRONG)

    def _plan(self, options: dict[str, Any]) -> None:
        found = self._found_plan(options)
        self._say(found.as_record(), _plan_text(found), as_json=options["json"])

    def _found_plan(self, options: dict[str, Any]) -> Plan:
        if options["step"] == "assign":
            if not options["to"]:
                raise BadAssignment("Say --to which cohort.")
            return assigning.plan(cohort=options["cohort"], to=options["to"], choice=_chosen(options))
        return switching.plan(cohort=options["cohort"], action=options["step"])

    def _journal(self, options: dict[str, Any]) -> None:
        cohort = None if options["all_cohorts"] else options["cohort"]
        entries = switching.entries(cohort=cohort, limit=options["limit"])
        if options["csv"]:
            self.stdout.write(switching.as_csv(entries), ending="")
            return
        records = [switching.as_record(entry) for entry in entries]
        lines = [
            f"{record['at']}  {record['cohort']}  {record['action']}: {record['from_stage']} -> "
            f"{record['to_stage']}, epoch {record['epoch']}, {record['result']} by {record['actor']}"
            f"{' and ' + record['approver'] if record['approver'] else ''}: {record['reason'] or 'no reason'}"
            for record in records
        ]
        self._say(records, lines or ["Nothing was done yet."], as_json=options["json"])

    # --- acting ------------------------------------------------------------------------------------------
    def _capture(self, options: dict[str, Any]) -> None:
        self._done(switching.capture(on=options["state"] == "on", **_common(options)), options)

    def _freeze(self, options: dict[str, Any]) -> None:
        self._done(switching.freeze(minutes=options["minutes"], **_common(options)), options)

    def _act(self, options: dict[str, Any]) -> None:
        match options["subcommand"]:
            case "advance":
                done = switching.advance(overridden=options["override"], **_common(options))
            case "finish":
                done = switching.finish(overridden=options["override"], **_common(options))
            case "rollback":
                done = switching.rollback(**_common(options))
            case _:
                done = switching.thaw(**_common(options))
        self._done(done, options)

    def _approve(self, options: dict[str, Any]) -> None:
        found = plans.approve_plan(
            self._found_plan(options), digest=options["digest"], actor=options["actor"]
        )
        record = {"digest": found.digest, "action": found.action, "approved_by": options["actor"]}
        self._say(
            record,
            [f"{options['actor']} approves {found.action} of {found.cohort}."],
            as_json=options["json"],
        )

    def _assign(self, options: dict[str, Any]) -> None:
        if not options["to"]:
            raise BadAssignment("Say --to which cohort.")
        told = switching.assign(
            cohort=options["cohort"],
            to=options["to"],
            choice=_chosen(options),
            actor=options["actor"],
            reason=options["reason"],
            overridden=options["override"],
            on_batch=lambda so_far: self._went_on(so_far, options),
        )
        lines = [f"{told.moved:,} accounts of {told.source} are of {told.to} now."]
        if told.not_of_source:
            lines.append(f"{told.not_of_source:,} were not of {told.source}, and stay where they are.")
        self._say(told.as_record(), lines, as_json=options["json"])

    def _went_on(self, so_far: Assigned, options: dict[str, Any]) -> None:
        if not options["json"]:
            self.stderr.write(f"{so_far.moved:,} accounts moved")

    def _done(self, done: Done, options: dict[str, Any]) -> None:
        record = done.as_record()
        head = (
            f"{done.act.action}: {done.route.cohort} is {done.route.stage.value}, epoch {done.route.epoch}."
        )
        self._say(record, [head, *done.notes], as_json=options["json"])

    def _say(self, record: Any, lines: Iterable[str], *, as_json: bool) -> None:
        for line in [json.dumps(record)] if as_json else lines:
            self.stdout.write(line)


def _common(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in ("cohort", "actor", "reason", "expected_epoch")}


def _may_override(parser: CommandParser) -> None:
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="CHECK",
        help="go on although this check is red (`all`: every one that may be); needs a reason",
    )


def _may_assign(parser: CommandParser) -> None:
    parser.add_argument(
        "--for", dest="step", choices=[*plans.ACTIONS, "assign"], help="default: what comes next"
    )
    _choice(parser)


def _choice(parser: CommandParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--accounts", metavar="FILE", help="a file with one account number in each line")
    which.add_argument("--percent", type=float, help="of the accounts that the ledger knows")
    which.add_argument("--account", action="append", help="one account number; may be repeated")
    parser.add_argument("--to", metavar="COHORT", help="where to")


def _chosen(options: dict[str, Any]) -> Choice:
    """Raises BadAssignment."""
    accounts = options["account"]
    if options["accounts"] is not None:
        try:
            lines = Path(options["accounts"]).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadAssignment(f"The file of accounts cannot be read: {error}") from error
        accounts = [line.strip() for line in lines if line.strip()]
    return Choice(accounts=None if accounts is None else tuple(accounts), percent=options["percent"])


def _status_text(record: dict[str, Any]) -> list[str]:
    backlog = record["backlog"]
    loss = "no way back" if record["rollback_loss"] is None else f"{record['rollback_loss']:,} operations"
    oldest = (
        "" if backlog["oldest_seconds"] is None else f", the oldest for {backlog['oldest_seconds']:.1f} s"
    )
    return [
        f"cohort        {record['cohort']}",
        f"stage         {record['stage']}, epoch {record['epoch']}",
        f"capture       {'on' if record['capture'] else 'off'}",
        f"frozen until  {record['freeze_until'] or 'not frozen'}",
        f"backlog       {backlog['count']:,} wait{oldest}; {backlog['parked']:,} parked",
        f"held          {backlog['held']:,} accounts",
        f"intents       {record['open_intents']:,} open, {record['in_doubt']:,} in doubt",
        f"way back      would lose: {loss}",
    ]


def _checks_text(checks: Iterable[Check]) -> list[str]:
    return [
        f"{'green' if check.is_green else 'RED  '}  {check.name:<34} {check.sentence}"
        f"{'' if check.is_green or not check.can_be_overridden else ' (can be overridden)'}"
        for check in checks
    ]


def _plan_text(found: Plan) -> list[str]:
    loss = "not possible" if found.rollback_loss is None else f"would lose {found.rollback_loss:,} operations"
    return [
        f"{found.action} of {found.cohort}: {found.from_stage} -> {found.to_stage}, at epoch {found.epoch}",
        *(f"  {number}. {step}" for number, step in enumerate(found.steps, start=1)),
        *_checks_text(found.checks),
        f"A way back from here {loss}.",
        f"digest {found.digest}",
    ]
