"""Whether points are right: each proof is one sentence, its figures, and a verdict.

Compared are three things that come about apart from each other: what the services were answered (their log,
worked out in plain Python), what the API says afterwards (balances and histories), and what stands in
PostgreSQL and Redis.
"""

import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from ledger import balances, queries
from ledger.models import Account
from pointsystem.demo import services
from pointsystem.demo.expected import Expected
from pointsystem.demo.timeline import month_of
from pointsystem.demo.traffic import Call, Caller, Traffic, Unanswered

ROOT: Final = Path(__file__).resolve().parents[2]

#: Under which total the report counts an entry.
TOTAL_OF_KIND: Final = {
    "earn": "issued",
    "spend": "spent",
    "spend_cancel": "restored",
    "earn_cancel": "cancelled",
    "clawback": "cancelled",
    "expire": "expired",
    "transfer_out": "given",
    "transfer_in": "received",
}
_EXAMPLES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`holds` is None where it could not be found out: then the run has not succeeded either."""

    sentence: str
    holds: bool | None
    figures: str
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the API says of one account after everything: its balance, and its whole history."""

    account_number: str
    available: int
    history: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Served:
    """All statements together."""

    statements: dict[str, Statement]
    #: Ids of operations that the API gave; of all others only their own words are known.
    through_api: set[str]
    months: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    entries: int = 0

    def __post_init__(self) -> None:
        for statement in self.statements.values():
            for entry in statement.history:
                self._count(statement.account_number, entry)

    def _count(self, account_number: str, entry: Mapping[str, Any]) -> None:
        self.entries += 1
        kind, points = entry["kind"], entry["points"]
        month = month_of(datetime.fromisoformat(entry["recorded_at"]))
        self.months[month][TOTAL_OF_KIND.get(kind, kind)] += abs(points)
        if kind != "expire":
            self.effects[account_number, self._name_of(entry)] += points

    def _name_of(self, entry: Mapping[str, Any]) -> str:
        """The operation as the services' log names it: what went through a procedure had no id then."""
        operation_id: str = entry["operation_id"]
        if operation_id in self.through_api:
            return operation_id
        return f"direct:{entry['kind']}:{entry['reference']}"

    @property
    def outstanding(self) -> int:
        return sum(statement.available for statement in self.statements.values())

    def totals(self) -> Counter[str]:
        together: Counter[str] = Counter()
        for counted in self.months.values():
            together.update(counted)
        return together

    def largest(self, count: int) -> list[Statement]:
        return sorted(self.statements.values(), key=lambda one: (-one.available, one.account_number))[:count]


def read_everything(traffic: Traffic, account_numbers: Sequence[str], *, through_api: set[str]) -> Served:
    """Ask the API for every balance and every history. Raises Unanswered."""
    statements = traffic.each(_statement, account_numbers)
    by_number = {statement.account_number: statement for statement in statements}
    return Served(by_number, through_api)


def _statement(caller: Caller, account_number: str) -> Statement:
    available = _read(caller, services.balance(account_number, service="front"))["available"]
    history: list[Mapping[str, Any]] = []
    cursor = None
    while True:
        page = _read(caller, services.history(account_number, cursor=cursor))
        history += page["data"]
        cursor = page["next"]
        if not cursor:
            return Statement(account_number=account_number, available=available, history=history)


def _read(caller: Caller, call: Call) -> Any:
    answer = caller.send(call)
    if answer.status != HTTPStatus.OK:
        raise Unanswered(f"{call.method} {call.path} was answered {answer.status}: {answer.body}")
    return answer.body


def prove(*, expected: Expected, served: Served) -> list[Proof]:
    """What can be said of every account, whoever decided, in the order of the report."""
    return [
        _nothing_lost(expected, served),
        _nothing_twice(expected, served),
        _repeats(expected),
        _answers(expected),
        _balances(expected, served),
        _totals(expected, served),
        _cache_and_database(served),
        _ledger(),
    ]


def _nothing_lost(expected: Expected, served: Served) -> Proof:
    lost = [place for place in expected.effects if place not in served.effects]
    return verdict(
        "Every acknowledged operation of every stage is in a history",
        f"{expected.operations:,} acknowledged, lost {len(lost):,}",
        [f"operation {operation_id} on {account_number}" for account_number, operation_id in lost],
    )


def _nothing_twice(expected: Expected, served: Served) -> Proof:
    wrong = [
        f"operation {place[1]} moved {points} points on {place[0]}, answered were {expected.effects[place]}"
        for place, points in served.effects.items()
        if points != expected.effects.get(place)
    ]
    return verdict(
        "No operation moved other points than were answered, or moved them twice",
        f"{len(served.effects):,} effects, double or different {len(wrong):,}",
        wrong,
    )


def _repeats(expected: Expected) -> Proof:
    return verdict(
        "A request that was sent again gave its first operation again",
        f"{expected.repeats:,} repeats, answered otherwise {len(expected.wrong_repeats):,}",
        expected.wrong_repeats,
    )


def _answers(expected: Expected) -> Proof:
    return verdict(
        "Each answer, and each balance read in between, is what plain Python expects",
        f"{expected.compared:,} compared, different {len(expected.wrong_answers):,}",
        expected.wrong_answers,
    )


def _balances(expected: Expected, served: Served) -> Proof:
    wrong = []
    for account_number, holding in expected.holdings.items():
        statement = served.statements.get(account_number)
        stated = None if statement is None else statement.available
        summed = None if statement is None else sum(entry["points"] for entry in statement.history)
        if not stated == summed == holding.available:
            wrong.append(
                f"{account_number} has {stated}, its history sums to {summed}, expected {holding.available}"
            )
    return verdict(
        "Each account's balance is the sum of its history, and of the services' own log",
        f"{len(expected.holdings):,} accounts, different {len(wrong):,}",
        wrong,
    )


def _totals(expected: Expected, served: Served) -> Proof:
    wrong = []
    for month in sorted({*expected.months, *served.months}):
        for name in TOTAL_OF_KIND.values():
            stated, summed = served.months[month][name], expected.months[month][name]
            if stated != summed:
                wrong.append(f"{month}: {stated} {name}, expected {summed}")
    compared = len(expected.months) * len(set(TOTAL_OF_KIND.values()))
    return verdict(
        "Each month's totals are those of the services' own log",
        f"{compared:,} totals, different {len(wrong):,}",
        wrong,
    )


def _cache_and_database(served: Served) -> Proof:
    """The API's balance, the one in Redis if there is one now, and PostgreSQL's, of all accounts."""
    sentence = "Each balance in Redis, and each that the API gives, is PostgreSQL's"
    numbers = list(Account.objects.order_by("id").values_list("account_number", flat=True))
    try:
        peeked = {cached.account_number: cached for cached in balances.peek(account_numbers=numbers)}
    except balances.RedisUnavailable:
        return Proof(sentence=sentence, holds=None, figures="Redis did not answer")
    wrong = []
    in_redis = 0
    for account_number in numbers:
        truth = queries.balance(account_number=account_number).available
        cached = peeked[account_number]
        statement = served.statements.get(account_number)
        stated = None if statement is None else statement.available
        if cached.state == "value":
            in_redis += 1
        if stated != truth or cached.state == "corrupt" or cached.available not in (None, truth):
            wrong.append(f"{account_number}: PostgreSQL {truth}, Redis {cached.available}, API {stated}")
    return verdict(
        sentence, f"{len(numbers):,} accounts, {in_redis:,} in Redis, different {len(wrong):,}", wrong
    )


def _ledger() -> Proof:
    """`verify_ledger`, as anybody would run it."""
    sentence = "verify_ledger finds every invariant of the ledger kept"
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "verify_ledger", "--json"],
        env=dict(os.environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
        checked, breaches = report["checked"], report["breaches"]
        skipped = [f"{one['check']} was skipped: {one['because']}" for one in report["skipped"]]
    except (ValueError, KeyError, TypeError):
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["nothing"]
        return Proof(
            sentence=sentence, holds=None, figures=f"ended with {done.returncode} and said: {said[0]}"
        )
    wrong = [f"{one['invariant']} {one['check']}: {one['meaning']} ({one['count']})" for one in breaches]
    holds: bool | None = done.returncode == 0 and not breaches
    if holds and (skipped or not checked):
        holds = None
    figures = f"{len(checked):,} checks, breached {len(breaches):,}"
    if skipped:
        figures += f", skipped {len(skipped):,}"
    return Proof(sentence=sentence, holds=holds, figures=figures, examples=(wrong + skipped)[:_EXAMPLES])


def verdict(sentence: str, figures: str, wrong: Sequence[str]) -> Proof:
    """It holds if nothing is wrong."""
    return Proof(sentence=sentence, holds=not wrong, figures=figures, examples=wrong[:_EXAMPLES])
