"""The ledger once more, in plain Python, written from the design and not from the code.

It knows lots, policies, debts, instants and keys, and nothing of SQL, locks, projections or expire
entries: a lot that has lapsed simply counts for nothing. The stateful test asks it and the real
ledger the same, and compares the answers (docs/concepts/invariants.md).

Accounts are named by short labels, lots by (account, number): the number counts the lots of an
account in the order in which they were made, which is the order of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

LotName = tuple[str, int]
DONE = "done"
#: These are outcomes, given again for the same key; all other refusals leave the key unused.
STORED_REFUSALS = {"insufficient_points", "account_blocked", "earn_already_spent", "not_cancellable"}
BY_POLICY = "by policy"


@dataclass(frozen=True)
class Rule:
    """One version of a reason's policy."""

    validity_days: int | None
    to_end_of_day: bool
    restore: Literal["original", "grace"]
    grace_days: int
    clawback: Literal["reject", "within_balance", "debt"]

    def lapse(self, start: datetime, days: int, zone: ZoneInfo) -> datetime:
        if not self.to_end_of_day:
            return start + timedelta(days=days)
        midnight = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + timedelta(days=days + 1)


@dataclass
class Reason:
    kinds: set[str]
    versions: list[Rule]

    @property
    def in_force(self) -> Rule:
        return self.versions[-1]


@dataclass
class Lot:
    account: str
    number: int
    points: int
    left: int
    earned_at: datetime
    expires_at: datetime | None
    reason: str
    rule: Rule
    origin: LotName | None = None
    #: Points that left by spending, giving or clawback, less those that came back.
    spent: int = 0
    #: Points that cancels of the very earn that granted it took back.
    cancelled: int = 0
    #: What came back with grace after this lot had lapsed, on the same account.
    grace: list[Lot] = field(default_factory=list)

    @property
    def name(self) -> LotName:
        return (self.account, self.number)

    def is_live(self, now: datetime) -> bool:
        return self.expires_at is None or now < self.expires_at

    def family(self) -> list[Lot]:
        return [self] + [lot for child in self.grace for lot in child.family()]


def in_spending_order(lots: list[Lot]) -> list[Lot]:
    """Soonest expiry first, never-expiring last; then the oldest; then the lowest id."""
    ever = datetime.max.replace(tzinfo=UTC)
    return sorted(lots, key=lambda lot: (lot.expires_at or ever, lot.earned_at, lot.number))


@dataclass
class Entry:
    kind: str
    points: int
    at: datetime
    moved: list[tuple[Lot, int]]


@dataclass
class Account:
    label: str
    status: str = "open"
    lots: list[Lot] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    debt: int = 0


@dataclass
class Operation:
    """What a key came to."""

    number: int
    client: str
    kind: str
    account: str
    points: int
    #: "done", or the code of the refusal.
    code: str = DONE
    #: The shares that it granted or took, in order.
    lots: list[tuple[Lot, int]] = field(default_factory=list)
    cancelled: int = 0
    cancels: int | None = None
    uncollected: int | None = None
    balance_after: int | None = None

    @property
    def lot_names(self) -> list[tuple[LotName, int]]:
        return [(lot.name, points) for lot, points in self.lots]


@dataclass
class Answer:
    code: str
    operation: Operation | None = None
    is_replayed: bool = False
    cancellable: int = 0


class Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Model:
    def __init__(self, *, now: datetime, zone: ZoneInfo, reasons: dict[str, Reason]) -> None:
        self.now = now
        self.judged_at = now
        self.zone = zone
        self.reasons = reasons
        self.accounts: dict[str, Account] = {}
        self.operations: list[Operation] = []
        self.keys: dict[tuple[str, str], tuple[Any, Operation]] = {}

    # --- what clients ask -------------------------------------------------------------------------
    def ask(
        self, *, client: str, key: str, kind: str, judged_at: datetime | None = None, **body: Any
    ) -> Answer:
        """One request: the key first, then the rules.

        `judged_at` is when it was accepted, if it was done only now: what the caller may ask for is
        judged by that instant, and what happens happens at this one.
        """
        self.judged_at = judged_at or self.now
        known = self.keys.get((client, key))
        if known is not None:
            if known[0] != (kind, body):
                return Answer("idempotency_key_reused")
            operation = known[1]
            return Answer(
                operation.code, operation, is_replayed=True, cancellable=self._cancellable_at_first(operation)
            )
        try:
            operation = getattr(self, f"_{kind}")(client, **body)
        except Refused as refused:
            if refused.code not in STORED_REFUSALS:
                return Answer(refused.code)
            operation = self._refused_operation(client, kind, body, refused.code)
        else:
            operation.balance_after = self.available(operation.account)
        operation.number = len(self.operations)
        self.operations.append(operation)
        self.keys[client, key] = ((kind, body), operation)
        return Answer(operation.code, operation, cancellable=self._cancellable_at_first(operation))

    def ask_all(self, *, client: str, items: list[dict[str, Any]]) -> list[Answer]:
        """A batch: each its own effect, in order; a key that stands twice is refused the second time."""
        seen: set[str] = set()
        answers = []
        for item in items:
            if item["key"] in seen:
                answers.append(Answer("idempotency_key_reused"))
            else:
                answers.append(self.ask(client=client, **item))
            seen.add(item["key"])
        return answers

    def set_status(self, account: str, status: str) -> None:
        self.accounts[account].status = status

    # --- what can be read -------------------------------------------------------------------------
    def available(self, account: str) -> int:
        return sum(lot.left for lot in self.live_lots(account))

    def live_lots(self, account: str) -> list[Lot]:
        if account not in self.accounts:
            return []
        return in_spending_order(
            [lot for lot in self.accounts[account].lots if lot.left and lot.is_live(self.now)]
        )

    def available_as_of(self, account: str, instant: datetime) -> int:
        if account not in self.accounts:
            return 0
        return sum(
            points
            for entry in self.accounts[account].entries
            if entry.at <= instant
            for lot, points in entry.moved
            if lot.is_live(instant)
        )

    def next_expiry(self, account: str) -> tuple[int, datetime] | None:
        dated = [lot for lot in self.live_lots(account) if lot.expires_at is not None]
        if not dated:
            return None
        first = dated[0].expires_at
        assert first is not None
        return sum(lot.left for lot in dated if lot.expires_at == first), first

    def cancellable(self, operation: Operation) -> int:
        if operation.code != DONE or operation.kind not in ("earn", "spend"):
            return 0
        return operation.points - operation.cancelled

    # --- the rules --------------------------------------------------------------------------------
    def _earn(self, client: str, *, account: str, points: int, reason: str, expires_at: Any) -> Operation:
        rule = self._rule(reason, "earn")
        lapse = self._lapse(rule, expires_at)
        self._require_open(account)
        book = self._open(account)
        lot = self._grant(book, points=points, expires_at=lapse, reason=reason, rule=rule)
        self._enter(book, "earn", [(lot, points)])
        owed = min(book.debt, points)
        if owed and lot.is_live(self.now):
            taken = self._take(self.live_lots(account), owed)
            self._leave(book, "clawback", taken)
            book.debt -= _sum(taken)
        return Operation(0, client, "earn", account, points, lots=[(lot, points)])

    def _spend(self, client: str, *, account: str, points: int, reason: str) -> Operation:
        self._rule(reason, "spend")
        self._require_open(account)
        taken = self._take_exactly(account, points)
        self._leave(self.accounts[account], "spend", taken)
        return Operation(0, client, "spend", account, points, lots=taken)

    def _adjust(self, client: str, *, account: str, points: int, reason: str, expires_at: Any) -> Operation:
        rule = self._rule(reason, "adjust")
        lapse = self._lapse(rule, expires_at)
        self._require_open(account)
        if points < 0:
            taken = self._take_exactly(account, -points)
            self._leave(self.accounts[account], "adjust", taken)
            return Operation(0, client, "adjust", account, points, lots=taken)
        book = self._open(account)
        lot = self._grant(book, points=points, expires_at=lapse, reason=reason, rule=rule)
        self._enter(book, "adjust", [(lot, points)])
        return Operation(0, client, "adjust", account, points, lots=[(lot, points)])

    def _transfer(self, client: str, *, giver: str, receiver: str, points: int, reason: str) -> Operation:
        self._rule(reason, "transfer")
        if giver == receiver:
            raise Refused("validation_failed")
        self._require_open(giver)
        self._require_open(receiver)
        taken = self._take_exactly(giver, points)
        self._leave(self.accounts[giver], "transfer_out", taken)
        book = self._open(receiver)
        given = [(self._derive(book, lot, share, expires_at=lot.expires_at), share) for lot, share in taken]
        self._enter(book, "transfer_in", given)
        return Operation(0, client, "transfer", giver, points, lots=taken)

    def _cancel(
        self, client: str, *, target: int | None, points: int | None, reason: str | None, any_client: bool
    ) -> Operation:
        cancelled = None if target is None else self.operations[target]
        if cancelled is None or not (any_client or cancelled.client == client):
            raise Refused("operation_not_found")
        kind = "spend_cancel" if cancelled.kind == "spend" else "earn_cancel"
        self._rule(reason or "ORDER_CANCELLED", kind)
        left = self.cancellable(cancelled)
        asked = left if points is None else points
        if left == 0 or asked > left:
            raise Refused("not_cancellable")
        if self.accounts[cancelled.account].status == "closed":
            raise Refused("account_blocked")
        operation = Operation(0, client, kind, cancelled.account, asked, cancels=target)
        if kind == "spend_cancel":
            operation.lots = self._give_back(cancelled, asked)
        else:
            operation.lots, operation.uncollected = self._take_back(cancelled, asked)
        cancelled.cancelled += asked
        return operation

    def _give_back(self, spend: Operation, points: int) -> list[tuple[Lot, int]]:
        """So that spend(a), cancel(b) leaves the same lots as spend(a - b)."""
        book = self.accounts[spend.account]
        one_by_one = [lot for lot, share in reversed(spend.lots) for _ in range(share)]
        returning = one_by_one[spend.cancelled : spend.cancelled + points]
        came_back: list[tuple[Lot, int]] = []
        for lot, _ in reversed(spend.lots):
            share = sum(1 for candidate in returning if candidate is lot)
            if not share:
                continue
            lot.spent -= share
            if lot.is_live(self.now):
                lot.left += share
                came_back.append((lot, share))
            elif lot.rule.restore == "grace":
                lapse = lot.rule.lapse(self.now, lot.rule.grace_days, self.zone)
                fresh = self._derive(book, lot, share, expires_at=lapse)
                lot.grace.append(fresh)
                came_back.append((fresh, share))
            else:
                # Restored and expired at once.
                came_back.append((lot, share))
        book.entries.append(Entry("spend_cancel", points, self.now, came_back))
        return came_back

    def _take_back(self, earn: Operation, points: int) -> tuple[list[tuple[Lot, int]], int | None]:
        """What is left of its own lots, then by the clawback policy what was spent of them.

        Of the points that are neither, because they lapsed, nobody owes anything.
        """
        book = self.accounts[earn.account]
        ((granted, _),) = earn.lots
        family = granted.family()
        own_lots = in_spending_order([lot for lot in family if lot.left and lot.is_live(self.now)])
        if granted in own_lots:
            own_lots.remove(granted)
            own_lots.insert(0, granted)
        own = self._take(own_lots, points)
        beyond_before = earn.cancelled - sum(lot.cancelled for lot in family)
        beyond_after = beyond_before + points - _sum(own)
        spent = sum(lot.spent for lot in family)
        owed = max(0, min(beyond_after, spent) - min(beyond_before, spent))
        if owed and granted.rule.clawback == "reject":
            for lot, share in own:
                lot.left += share
            raise Refused("earn_already_spent")
        for lot, share in own:
            lot.cancelled += share
        if own:
            moved = [(lot, -share) for lot, share in own]
            book.entries.append(Entry("earn_cancel", -_sum(own), self.now, moved))
        others = self._take(self.live_lots(earn.account), owed)
        self._leave(book, "clawback", others)
        uncollected = owed - _sum(others)
        if granted.rule.clawback == "debt":
            book.debt += uncollected
        return own + others, uncollected or None

    # --- small parts ------------------------------------------------------------------------------
    def _rule(self, code: str, kind: str) -> Rule:
        reason = self.reasons.get(code)
        if reason is None or kind not in reason.kinds:
            raise Refused("validation_failed")
        return reason.in_force

    def _lapse(self, rule: Rule, expires_at: Any) -> datetime | None:
        if expires_at == BY_POLICY:
            if rule.validity_days is None:
                return None
            return rule.lapse(self.judged_at, rule.validity_days, self.zone)
        if expires_at is not None and expires_at <= self.judged_at:
            raise Refused("validation_failed")
        return expires_at

    def _require_open(self, account: str) -> None:
        book = self.accounts.get(account)
        if book is not None and book.status != "open":
            raise Refused("account_blocked")

    def _open(self, account: str) -> Account:
        return self.accounts.setdefault(account, Account(account))

    def _grant(
        self,
        book: Account,
        *,
        points: int,
        expires_at: datetime | None,
        reason: str,
        rule: Rule,
        origin: LotName | None = None,
    ) -> Lot:
        lot = Lot(book.label, len(book.lots), points, points, self.now, expires_at, reason, rule, origin)
        book.lots.append(lot)
        return lot

    def _derive(self, book: Account, lot: Lot, points: int, *, expires_at: datetime | None) -> Lot:
        return self._grant(
            book, points=points, expires_at=expires_at, reason=lot.reason, rule=lot.rule, origin=lot.name
        )

    def _take(self, lots: list[Lot], points: int) -> list[tuple[Lot, int]]:
        taken = []
        for lot in lots:
            share = min(lot.left, points)
            if share:
                lot.left -= share
                points -= share
                taken.append((lot, share))
        return taken

    def _take_exactly(self, account: str, points: int) -> list[tuple[Lot, int]]:
        if self.available(account) < points:
            raise Refused("insufficient_points")
        return self._take(self.live_lots(account), points)

    def _enter(self, book: Account, kind: str, shares: list[tuple[Lot, int]]) -> None:
        book.entries.append(Entry(kind, _sum(shares), self.now, list(shares)))

    def _leave(self, book: Account, kind: str, shares: list[tuple[Lot, int]]) -> None:
        for lot, share in shares:
            lot.spent += share
        if shares:
            moved = [(lot, -share) for lot, share in shares]
            book.entries.append(Entry(kind, -_sum(shares), self.now, moved))

    def _cancellable_at_first(self, operation: Operation) -> int:
        return operation.points if operation.code == DONE and operation.kind in ("earn", "spend") else 0

    def _refused_operation(self, client: str, kind: str, body: dict[str, Any], code: str) -> Operation:
        account, points, cancels = body.get("account") or body.get("giver"), body.get("points"), None
        if kind == "cancel":
            cancels = body["target"]
            target = self.operations[cancels]
            account, kind = target.account, "earn_cancel" if target.kind == "earn" else "spend_cancel"
        return Operation(0, client, kind, account or "", points or 0, code=code, cancels=cancels)


def _sum(shares: list[tuple[Lot, int]]) -> int:
    return sum(points for _, points in shares)
