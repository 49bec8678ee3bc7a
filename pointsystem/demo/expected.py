"""The client-side log worked out again in plain Python: what every account must hold, and why.

Nothing here comes from the ledger: no code of it is imported, and no figure of it is read but what it
answered to the services, which is compared. Points lapse at the start of a day, when the day they were earned
on and 365 more are over, unless the request said otherwise.

Until the cutover is finished the rules are those that both sides share: what was earned first is spent first,
and an earn is cancelled only out of its own lot. After it they are the ledger's: what lapses soonest is spent
first, and a cancelled earn takes other lots too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pointsystem.demo.journal import Line
from pointsystem.demo.timeline import ZONE, end_of_day, month_of

VALID_DAYS: Final = 365
DONE: Final = (201, 202)

#: Totals that the report shows; the sign says what they do to the points outstanding.
SIGNS: Final = {
    "issued": 1,
    "spent": -1,
    "restored": 1,
    "cancelled": -1,
    "expired": -1,
    "given": -1,
    "received": 1,
}


@dataclass(slots=True, kw_only=True)
class Lot:
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime
    expired: int = 0


def _by_age(lot: Lot) -> datetime:
    return lot.earned_at


def _by_expiry(lot: Lot) -> tuple[datetime, datetime]:
    return lot.expires_at, lot.earned_at


@dataclass(slots=True)
class Holding:
    """What one account holds, as the services' own log has it."""

    lots: list[Lot] = field(default_factory=list)

    @property
    def available(self) -> int:
        return sum(lot.remaining for lot in self.lots)

    def take(self, points: int, *, oldest_first: bool) -> list[tuple[Lot, int]]:
        """Up to `points`: the oldest lots first, or those that lapse soonest and of those the oldest."""
        taken = []
        order = _by_age if oldest_first else _by_expiry
        for lot in sorted(self.lots, key=order):
            share = min(lot.remaining, points)
            if share:
                lot.remaining -= share
                points -= share
                taken.append((lot, share))
        return taken


@dataclass(slots=True, kw_only=True)
class Done:
    """An operation that may still be cancelled: an earn's own lot, or what a spend took."""

    account_number: str
    points: int
    cancelled: int = 0
    lot: Lot | None = None
    taken: list[tuple[Lot, int]] = field(default_factory=list)


@dataclass(slots=True)
class Expected:
    """What the log amounts to."""

    holdings: dict[str, Holding] = field(default_factory=lambda: defaultdict(Holding))
    #: By month and kind of total, over all accounts.
    months: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    #: Points that an operation moved on an account, expiries left out.
    effects: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: dict[str, Done] = field(default_factory=dict)
    balances_after: dict[str, int] = field(default_factory=dict)
    first_answers: dict[str, Line] = field(default_factory=dict)
    #: Ids that the API gave; what went through a procedure has none of them.
    through_api: set[str] = field(default_factory=set)
    is_finished: bool = False
    operations: int = 0
    refused: int = 0
    compared: int = 0
    repeats: int = 0
    #: One sentence for every answer that is not what it should have been.
    wrong_answers: list[str] = field(default_factory=list)
    wrong_repeats: list[str] = field(default_factory=list)

    def totals(self) -> Counter[str]:
        together: Counter[str] = Counter()
        for counted in self.months.values():
            together.update(counted)
        return together


def work_out(lines: Iterable[Line]) -> Expected:
    """Read the log from its first line to its last."""
    expected = Expected()
    for line in lines:
        _Reader(expected, line).read()
    return expected


class _Reader:
    """One line of the log."""

    def __init__(self, expected: Expected, line: Line) -> None:
        self.expected = expected
        self.line = line
        self.holding = expected.holdings[line.account_number] if line.account_number else Holding()

    def read(self) -> None:
        line = self.line
        if line.kind == "finished":
            self.expected.is_finished = True
            return
        if line.kind == "repeat":
            self._repeat()
            return
        _lapse(self.expected, self.holding, at=line.at)
        if line.kind == "balance":
            self._compare("available", line.available, self.holding.available)
        elif line.kind == "settled":
            self._compare("state", line.state, "completed")
            expected_balance = self.expected.balances_after.get(line.operation_id or "")
            self._compare("balance_after", line.available, expected_balance)
        else:
            self._operation()

    def _operation(self) -> None:
        line, expected = self.line, self.expected
        if line.key:
            expected.first_answers[line.key] = line
        if line.status not in DONE:
            self._refusal()
            return
        expected.operations += 1
        getattr(self, f"_{line.kind}")()
        if line.operation_id:
            expected.balances_after[line.operation_id] = self.holding.available
            if line.key:
                expected.through_api.add(line.operation_id)
        if line.status == 201:
            self._compare("balance_after", line.available, self.holding.available)

    def _refusal(self) -> None:
        """Only a spend or a gift of more than there is may be refused; and, until the cutover is finished,
        every gift, and the cancel of an earn that was spent already."""
        line = self.line
        self.expected.refused += 1
        is_right = False
        if line.kind == "transfer" and not self.expected.is_finished:
            is_right = line.code == "not_available_in_stage"
        elif line.kind in ("spend", "transfer"):
            is_right = line.code == "insufficient_points" and (line.points or 0) > self.holding.available
        elif line.kind == "cancel":
            target = self.expected.done.get(line.cancels or "")
            is_right = (
                line.code == "earn_already_spent"
                and not self.expected.is_finished
                and target is not None
                and target.lot is not None
                and target.lot.remaining < self._asked(target)
            )
        self._compare("refusal", "right" if is_right else f"{line.status} {line.code}", "right")

    def _asked(self, target: Done) -> int:
        return self.line.points or target.points - target.cancelled

    def _take(self, points: int) -> list[tuple[Lot, int]]:
        return self.holding.take(points, oldest_first=not self.expected.is_finished)

    def _earn(self) -> None:
        line = self.line
        earned_on = line.at.astimezone(ZONE).date()
        expires_at = line.expires_at or end_of_day(earned_on + timedelta(days=VALID_DAYS))
        points = line.points or 0
        lot = Lot(points=points, remaining=points, earned_at=line.at, expires_at=expires_at)
        self.holding.lots.append(lot)
        self._remember(points, lot=lot)
        self._count("issued", points)
        self._move(points)

    def _spend(self) -> None:
        points = self.line.points or 0
        taken = self._take(points)
        self._compare("points taken", sum(share for _, share in taken), points)
        self._remember(points, taken=taken)
        self._count("spent", points)
        self._move(-points)

    def _transfer(self) -> None:
        points, receiver = self.line.points or 0, self.line.to_account_number or ""
        other = self.expected.holdings[receiver]
        _lapse(self.expected, other, at=self.line.at)
        for lot, share in self._take(points):
            other.lots.append(
                Lot(points=share, remaining=share, earned_at=self.line.at, expires_at=lot.expires_at)
            )
        self._count("given", points)
        self._count("received", points)
        self._move(-points)
        self._move(points, account_number=receiver)

    def _cancel(self) -> None:
        target = self.expected.done.get(self.line.cancels or "")
        if target is None or target.account_number != self.line.account_number:
            self._compare("cancelled operation", None, self.line.cancels)
            return
        points = self._asked(target)
        if target.lot is None:
            self._give_back(target, points)
        else:
            self._take_away(target, target.lot, points)
        target.cancelled += points

    def _give_back(self, target: Done, points: int) -> None:
        """In the reverse order of taking. What has lapsed since comes back, and lapses at once."""
        left = points
        while left:
            lot, share = target.taken.pop()
            given = min(share, left)
            if share > given:
                target.taken.append((lot, share - given))
            left -= given
            if self.line.at < lot.expires_at:
                lot.remaining += given
            else:
                lot.expired += given
                self._count("expired", given)
        self._count("restored", points)
        self._move(points)

    def _take_away(self, target: Done, lot: Lot, points: int) -> None:
        """Out of the earn's own lot; what of it was spent, out of others; what has lapsed is gone already."""
        own = min(lot.remaining, points)
        lot.remaining -= own
        if not self.expected.is_finished:
            self._compare("points left of the earn", own, points)
        owed = min(points - own, lot.points - lot.remaining - own - lot.expired - target.cancelled)
        others = sum(share for _, share in self._take(owed))
        self._compare("uncollected_points", self.line.uncollected_points or 0, owed - others)
        self._count("cancelled", own + others)
        self._move(-own - others)

    def _repeat(self) -> None:
        """The first answer again, and marked as such."""
        line = self.line
        first = self.expected.first_answers.get(line.key or "")
        self.expected.repeats += 1
        if first is None or line.operation_id != first.operation_id or not line.is_replayed:
            self.expected.wrong_repeats.append(f"{line.key}: {line.status}, operation {line.operation_id}")

    def _remember(
        self, points: int, *, lot: Lot | None = None, taken: list[tuple[Lot, int]] | None = None
    ) -> None:
        if self.line.operation_id:
            self.expected.done[self.line.operation_id] = Done(
                account_number=self.line.account_number, points=points, lot=lot, taken=taken or []
            )

    def _count(self, what: str, points: int) -> None:
        self.expected.months[month_of(self.line.at)][what] += points

    def _move(self, points: int, *, account_number: str | None = None) -> None:
        if points:
            place = (account_number or self.line.account_number, self.line.operation_id or "")
            self.expected.effects[place] += points

    def _compare(self, what: str, answered: object, expected: object) -> None:
        self.expected.compared += 1
        if answered != expected:
            line = self.line
            self.expected.wrong_answers.append(
                f"{line.kind} on {line.account_number} at {line.at:%Y-%m-%d}: {what} is {answered}, "
                f"expected {expected}"
            )


def _lapse(expected: Expected, holding: Holding, *, at: datetime) -> None:
    for lot in holding.lots:
        if lot.remaining and lot.expires_at <= at:
            expected.months[month_of(lot.expires_at)]["expired"] += lot.remaining
            lot.expired += lot.remaining
            lot.remaining = 0


def lapse_all(expected: Expected, *, at: datetime) -> None:
    """What has lapsed on every account by `at`."""
    for holding in expected.holdings.values():
        _lapse(expected, holding, at=at)
