"""Plays the days through the API: what each service asks, in which order, and what is noted of each answer.

Accounts are served side by side; what one account does on one day is done in its order. So every run comes to
the same points, however its requests interleave.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol

from pointsystem.demo import customers, services
from pointsystem.demo.customers import Return, draw
from pointsystem.demo.journal import Journal, Line
from pointsystem.demo.orders import Order
from pointsystem.demo.timeline import EVENT_DAYS_VALID, EVENT_POINTS, Day, end_of_day
from pointsystem.demo.traffic import Answer, Call, Caller, Traffic

BATCH_ITEMS: Final = 1000
SETTLE_SECONDS: Final = 60.0
STORMS: Final = 20
STORM_POINTS: Final = 10
OLD_KEYS_SHARE: Final = 0.02

Kind = Literal["earn", "spend", "cancel", "transfer"]


class World(Protocol):
    """What the demo does to the point system other than by the API."""

    def set_clock(self, instant: datetime) -> None: ...

    def expire(self) -> None:
        """Have a worker post what has lapsed, and wait until it is done. Raises NotSettled."""


class NotSettled(Exception):
    """Work that a worker was to do was not done within a minute."""


@dataclass(slots=True, kw_only=True)
class Replay:
    """The state of the services: what they remember of their operations."""

    traffic: Traffic
    journal: Journal
    world: World
    say_done: Callable[[Day], None]
    day: Day = field(init=False)
    now: datetime = field(init=False)
    #: Operation ids, and points, by the number of the order that they were for.
    earns: dict[int, tuple[str, int]] = field(default_factory=dict)
    spends: dict[int, tuple[str, int]] = field(default_factory=dict)
    ordered: set[str] = field(default_factory=set)
    accepted: dict[str, str] = field(default_factory=dict)
    sent_long_ago: list[Call] = field(default_factory=list)

    def play(self, days: Sequence[Day]) -> None:
        """Play every day, then what is done once at the end. Raises Unanswered, NotSettled."""
        for day in days:
            self.day = day
            if day.is_event and self.ordered:
                self._move_to(day.noon)
                self._hold_event()
            if day.account_numbers:
                self._move_to(day.noon)
                self.traffic.each(self._serve, day.account_numbers)
                self._settle_accepted()
                self._give_gifts()
            if day.has_expiry_run:
                self._move_to(day.night)
                self.world.expire()
            self.say_done(day)
        self._storm()
        self._send_old_keys_again()

    def _move_to(self, instant: datetime) -> None:
        self.now = instant
        self.world.set_clock(instant)

    # --- one account on one day ---------------------------------------------------------------------
    def _serve(self, caller: Caller, account_number: str) -> None:
        for coming_back in self.day.returns.get(account_number, []):
            self._take_back(caller, coming_back)
        orders = self.day.orders.get(account_number, [])
        for order in orders:
            self._place(caller, order)
        # Last, because nothing says yet when what was only accepted will be in a balance.
        for order in filter(customers.writes_review, orders):
            self._review(caller, order)
        self.ordered.add(account_number)

    def _place(self, caller: Caller, order: Order) -> None:
        if customers.looks_at_balance(order):
            self._pay(caller, order)
        if order.points:
            call = services.earn(
                account_number=order.account_number,
                points=order.points,
                reference=order.reference,
                occurred_at=self.now,
            )
            line = self._operate(caller, call, kind="earn", account_number=order.account_number)
            if line.status == 201 and line.operation_id:
                self.earns[order.number] = (line.operation_id, order.points)

    def _pay(self, caller: Caller, order: Order) -> None:
        answer = caller.send(services.balance(order.account_number))
        available = _whole(answer, "available")
        self._note(kind="balance", account_number=order.account_number, answer=answer)
        payment = None if available is None else customers.payment_of(order, available=available)
        if payment is None:
            return
        call = services.spend(
            account_number=order.account_number, points=payment.points, reference=order.reference
        )
        line = self._operate(caller, call, kind="spend", account_number=order.account_number)
        if line.status == 201 and line.operation_id:
            self.spends[order.number] = (line.operation_id, payment.points)

    def _review(self, caller: Caller, order: Order) -> None:
        # Asked for explicitly, because it may be done a moment later than it was accepted.
        expires_at = end_of_day(self.day.date.replace(year=self.day.date.year + 1))
        call = services.earn_for_review(
            account_number=order.account_number,
            points=customers.REVIEW_POINTS,
            reference=order.reference,
            expires_at=expires_at,
        )
        line = self._operate(
            caller, call, kind="earn", account_number=order.account_number, expires_at=expires_at
        )
        if line.status == 202 and line.operation_id:
            self.accepted[line.operation_id] = order.account_number

    def _take_back(self, caller: Caller, coming_back: Return) -> None:
        order = coming_back.order
        targets = (("billing", "spend", self.spends), ("order", "earn", self.earns))
        for service, what, operations in targets:
            operation_id, whole = operations.get(order.number, ("", 0))
            points = None if coming_back.is_whole else whole // 2
            if not operation_id or points == 0:
                continue
            call = services.cancel(
                service=service,
                operation_id=operation_id,
                points=points,
                reference=order.reference,
                what=what,
            )
            self._operate(
                caller, call, kind="cancel", account_number=order.account_number, cancels=operation_id
            )

    # --- what concerns several accounts -------------------------------------------------------------
    def _give_gifts(self) -> None:
        """One after the other: each takes from one account and gives to another."""
        everybody = sorted(self.ordered)
        orders = [order for _, placed in sorted(self.day.orders.items()) for order in placed]
        gifts = [
            (order, receiver)
            for order in orders
            if (receiver := customers.gift_receiver(order, account_numbers=everybody)) is not None
        ]
        if not gifts:
            return
        self._move_to(self.day.evening)

        def give(caller: Caller, _: int) -> None:
            for order, receiver in gifts:
                self._give(caller, order, receiver)

        self.traffic.each(give, [0])

    def _give(self, caller: Caller, order: Order, receiver: str) -> None:
        call = services.transfer(
            giver=order.account_number,
            receiver=receiver,
            points=customers.GIFT_POINTS,
            reference=order.reference,
        )
        self._operate(
            caller,
            call,
            kind="transfer",
            account_number=order.account_number,
            to_account_number=receiver,
        )

    def _hold_event(self) -> None:
        """Points for everybody, by the thousand."""
        expires_at = end_of_day(self.day.date + timedelta(days=EVENT_DAYS_VALID))
        reference = f"event-{self.day.date}"
        items = [
            services.event_item(
                account_number=account_number,
                points=EVENT_POINTS,
                expires_at=expires_at,
                key=f"{reference}:{account_number}",
            )
            for account_number in sorted(self.ordered)
        ]
        slices = [items[start : start + BATCH_ITEMS] for start in range(0, len(items), BATCH_ITEMS)]
        self.traffic.each(self._send_batch, slices)

    def _send_batch(self, caller: Caller, items: list[dict[str, Any]]) -> None:
        answer = caller.send(services.batch(items))
        results = answer.body.get("results", []) if isinstance(answer.body, dict) else []
        if len(results) != len(items):
            results = [{"status": answer.status, "problem": answer.body}] * len(items)
        for item, result in zip(items, results, strict=True):
            one = Answer(
                status=result["status"],
                body=result.get("operation") or result.get("problem"),
                is_replayed=False,
            )
            self._note(
                kind="earn",
                account_number=item["account_number"],
                answer=one,
                points=item["points"],
                key=item["idempotency_key"],
                expires_at=datetime.fromisoformat(item["expires_at"]),
            )

    def _settle_accepted(self) -> None:
        """Wait until the workers did what was accepted today; the answers are noted like all others."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        pause_seconds = 0.02
        while self.accepted:
            self.traffic.each(self._look_at_accepted, sorted(self.accepted))
            if not self.accepted:
                return
            if time.monotonic() > give_up_at:
                raise NotSettled(f"{len(self.accepted)} accepted earns were not done by any worker.")
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, 0.5)

    def _look_at_accepted(self, caller: Caller, operation_id: str) -> None:
        answer = caller.send(services.operation(operation_id, service="front"))
        if isinstance(answer.body, dict) and answer.body.get("state") == "accepted":
            return
        account_number = self.accepted.pop(operation_id)
        self._note(kind="settled", account_number=account_number, answer=answer)

    # --- at the end ---------------------------------------------------------------------------------
    def _storm(self) -> None:
        """The same new request from all callers at once, again and again."""
        chosen = sorted(self.ordered, key=lambda account_number: draw("storm", account_number))[:STORMS]
        for account_number in chosen:
            expires_at = end_of_day(self.day.date.replace(year=self.day.date.year + 1))
            call = services.event_earn(
                account_number=account_number,
                points=STORM_POINTS,
                reference=f"storm-{account_number}",
                expires_at=expires_at,
            )
            answers = self.traffic.at_once(call)
            first = next((answer for answer in answers if not answer.is_replayed), answers[0])
            self._note(
                kind="earn",
                account_number=account_number,
                answer=first,
                points=STORM_POINTS,
                key=call.key,
                expires_at=expires_at,
            )
            for answer in answers:
                if answer is not first:
                    self._note(kind="repeat", account_number=account_number, answer=answer, key=call.key)

    def _send_old_keys_again(self) -> None:
        def send(caller: Caller, call: Call) -> None:
            account_number = call.path.split("/")[4] if "/accounts/" in call.path else ""
            answer = caller.send(call)
            self._note(kind="repeat", account_number=account_number, answer=answer, key=call.key)

        self.traffic.each(send, self.sent_long_ago)

    # --- calls and their notes ----------------------------------------------------------------------
    def _operate(
        self,
        caller: Caller,
        call: Call,
        *,
        kind: Kind,
        account_number: str,
        to_account_number: str | None = None,
        cancels: str | None = None,
        expires_at: datetime | None = None,
    ) -> Line:
        answer = caller.send(call)
        points = (call.body or {}).get("points")
        line = self._note(
            kind=kind,
            account_number=account_number,
            answer=answer,
            points=points,
            to_account_number=to_account_number,
            cancels=cancels,
            expires_at=expires_at,
            key=call.key,
        )
        if customers.is_sent_again(str(call.key)):
            again = caller.send(call)
            self._note(kind="repeat", account_number=account_number, answer=again, key=call.key)
        elif draw("old key", str(call.key)) < OLD_KEYS_SHARE:
            self.sent_long_ago.append(call)
        return line

    def _note(
        self,
        *,
        kind: Literal["earn", "spend", "cancel", "transfer", "balance", "settled", "repeat"],
        account_number: str,
        answer: Answer,
        **asked: Any,
    ) -> Line:
        body = answer.body if isinstance(answer.body, dict) else {}
        available = body.get("available") if kind == "balance" else body.get("balance_after")
        line = Line(
            at=self.now,
            kind=kind,
            account_number=account_number,
            status=answer.status,
            operation_id=body.get("id") or body.get("operation_id"),
            state=body.get("state"),
            code=body.get("code"),
            available=available,
            uncollected_points=body.get("uncollected_points"),
            is_replayed=answer.is_replayed,
            **asked,
        )
        self.journal.write(line)
        return line


def _whole(answer: Answer, name: str) -> int | None:
    value = answer.body.get(name) if isinstance(answer.body, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
