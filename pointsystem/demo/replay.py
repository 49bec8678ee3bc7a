"""Plays the days: what each service asks, in which order, and what is noted of each answer.

Accounts are served side by side; what one account does on one day is done in its order. So every run comes to
the same points for these customers, however its requests interleave. The clock moves on between what one
account does, so that no two lots of it were earned at the same moment.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from pointsystem.demo import customers, services
from pointsystem.demo.answers import Answer
from pointsystem.demo.customers import Return
from pointsystem.demo.dealing import Dealing
from pointsystem.demo.orders import Order
from pointsystem.demo.timeline import EVENT_DAYS_VALID, EVENT_POINTS, Day, end_of_day
from pointsystem.demo.traffic import Call, Caller

BATCH_ITEMS: Final = 500
SETTLE_SECONDS: Final = 120.0
STORM_POINTS: Final = 10
OLD_KEYS_SHARE: Final = 0.03

#: What a service is told in a freeze, and takes for an answer: it comes back later, with the same key.
FROZEN: Final = "spending_frozen"

Work = Callable[[Caller], None]


class Happenings(Protocol):
    """What happens on a day beside what customers do."""

    def in_the_morning(self, day: Day) -> None: ...

    def is_switching(self) -> bool:
        """Whether the operator is at work: then the night's jobs wait for the next night."""

    def wait(self) -> None:
        """Until the operator is done."""


@dataclass(slots=True, kw_only=True)
class Replay(Dealing):
    """The days, and the services on them."""

    say_done: Callable[[Day], None]
    day: Day = field(init=False)
    gives_gifts: bool = False
    ordered: set[str] = field(default_factory=set)
    _minute: int = 0

    def play(self, days: Sequence[Day], happenings: Happenings) -> None:
        """Play every day. Raises Unanswered, NotSettled, and what happens."""
        for day in days:
            self.day, self._minute = day, 0
            self.world.set_clock(day.morning)
            happenings.in_the_morning(day)
            self._serve_everybody()
            if self.gives_gifts:
                self._give_gifts()
            self._pass_night(happenings)
            self.say_done(day)

    def next_minute(self) -> None:
        """Let a minute pass: what is earned from now on is younger than what was earned before."""
        self._minute += 1
        self.world.set_clock(self.day.noon + timedelta(minutes=self._minute))

    def _pass_night(self, happenings: Happenings) -> None:
        day = self.day
        if not day.has_expiry_run:
            return
        if happenings.is_switching():
            if not day.is_last_of_month:
                return
            happenings.wait()
        self.world.set_clock(day.night)
        self.world.expire()
        if day.is_last_of_month:
            self.world.close_month()

    # --- one account on one day ---------------------------------------------------------------------
    def _serve_everybody(self) -> None:
        """Round by round: what every account does first, then what each does next."""
        works = {number: self._works(number) for number in self.day.account_numbers}
        for round_number in range(max(map(len, works.values()), default=0)):
            self.next_minute()
            due = [
                of_account[round_number] for of_account in works.values() if len(of_account) > round_number
            ]
            self.traffic.each(lambda caller, work: work(caller), due)
            self.settle_accepted()
        self.ordered.update(works)

    def _works(self, account_number: str) -> list[Work]:
        """What an account does on this day; each of it makes one lot at most."""
        orders = self.day.orders.get(account_number, [])
        works: list[Work] = []
        if self.day.returns.get(account_number):
            returns = self.day.returns[account_number]
            works.append(lambda caller: self._take_back_all(caller, returns))
        for order in orders:
            works.append(lambda caller, order=order: self.place(caller, order))  # type: ignore[misc]
        # Last, because nothing says yet when what was only accepted will be in a balance.
        for order in filter(customers.writes_review, orders):
            works.append(lambda caller, order=order: self._review(caller, order))  # type: ignore[misc]
        for order in filter(customers.complains, orders):
            works.append(lambda caller, order=order: self._care(caller, order))  # type: ignore[misc]
        return works

    def place(self, caller: Caller, order: Order) -> None:
        """An order: paid with points, where the customer does, and rewarded with points."""
        self.orders[order.number] = order
        if customers.looks_at_balance(order):
            self._pay(caller, order)
        self._reward(caller, order)

    def _reward(self, caller: Caller, order: Order) -> None:
        if not order.points:
            return
        line = self.earn(
            caller,
            service="order",
            account_number=order.account_number,
            points=order.points,
            reason="ORDER_REWARD",
            reference=order.reference,
            key=f"{order.reference}:earn",
            occurred_at=self.now,
        )
        self.remember(self.earns, order, "order", line)

    def _pay(self, caller: Caller, order: Order) -> None:
        available = self.look(caller, order.account_number, service="billing")
        payment = None if available is None else customers.payment_of(order, available=available)
        if payment is None:
            return
        line = self.spend(
            caller, account_number=order.account_number, points=payment.points, reference=order.reference
        )
        if line is not None:
            self.remember(self.spends, order, "billing", line)

    def _review(self, caller: Caller, order: Order) -> None:
        self.earn(
            caller,
            service="front",
            account_number=order.account_number,
            points=customers.REVIEW_POINTS,
            reason="REVIEW",
            reference=f"review-{order.number}",
            key=f"review-{order.number}",
            is_async=True,
        )

    def _care(self, caller: Caller, order: Order) -> None:
        self.earn(
            caller,
            service="member",
            account_number=order.account_number,
            points=customers.CARE_POINTS,
            reason="COMPENSATION",
            reference=f"care-{order.number}",
            key=f"care-{order.number}",
        )

    def _take_back_all(self, caller: Caller, returns: Sequence[Return]) -> None:
        for coming_back in returns:
            order = coming_back.order
            for what, made in (("spend", self.spends), ("earn", self.earns)):
                found = made.get(order.number)
                if found is None or (what == "spend" and order.number in self.paid_back):
                    continue
                points = None if coming_back.is_whole else found.points // 2
                if points == 0:
                    continue
                self.cancel(caller, order, what=what, points=points, key=f"{order.reference}:cancel-{what}")

    # --- what concerns several accounts -------------------------------------------------------------
    def hold_event(self, account_numbers: Sequence[str]) -> None:
        """Points for many: by the thousand through the API, one by one through the procedure."""
        self.next_minute()
        expires_at = end_of_day(self.day.date + timedelta(days=EVENT_DAYS_VALID))
        reference = f"event-{self.day.date}"
        if "voucher" not in self.moved:

            def give(caller: Caller, account_number: str) -> None:
                self.earn(
                    caller,
                    service="voucher",
                    account_number=account_number,
                    points=EVENT_POINTS,
                    reason="EVENT",
                    reference=reference,
                    key=f"{reference}:{account_number}",
                    expires_at=expires_at,
                )

            self.traffic.each(give, account_numbers)
            return
        items = [
            services.event_item(
                account_number=account_number,
                points=EVENT_POINTS,
                reference=reference,
                expires_at=expires_at,
                key=f"{reference}:{account_number}",
            )
            for account_number in account_numbers
        ]
        slices = [items[start : start + BATCH_ITEMS] for start in range(0, len(items), BATCH_ITEMS)]
        self.traffic.each(self._send_batch, slices)

    def _send_batch(self, caller: Caller, items: list[dict[str, Any]]) -> None:
        answer = caller.send(services.batch(items))
        results = answer.body.get("results", []) if isinstance(answer.body, dict) else []
        if len(results) != len(items):
            results = [{"status": answer.status, "problem": answer.body}] * len(items)
        again = []
        for item, result in zip(items, results, strict=True):
            if result["status"] == 503:
                again.append(item)
                continue
            body = result.get("operation") or result.get("problem")
            self.note(
                kind="earn",
                account_number=item["account_number"],
                answer=Answer(status=result["status"], body=body, is_replayed=False),
                service="voucher",
                points=item["points"],
                key=item["idempotency_key"],
                expires_at=datetime.fromisoformat(item["expires_at"]),
            )
        if again:
            time.sleep(0.2)
            self._send_batch(caller, again)

    def _give_gifts(self) -> None:
        """One after the other: each takes from one account and gives to another."""
        everybody = sorted(self.ordered)
        placed = [order for _, orders in sorted(self.day.orders.items()) for order in orders]
        for order in placed:
            receiver = customers.gift_receiver(order, account_numbers=everybody)
            if receiver is None:
                continue
            self.next_minute()
            self.traffic.each(self._give, [(order, receiver)])

    def _give(self, caller: Caller, gift: tuple[Order, str]) -> None:
        order, receiver = gift
        call = services.transfer(
            giver=order.account_number,
            receiver=receiver,
            points=customers.GIFT_POINTS,
            reference=order.reference,
        )
        self.operate(
            caller,
            call,
            None,
            kind="transfer",
            account_number=order.account_number,
            to_account_number=receiver,
        )

    # --- keys -----------------------------------------------------------------------------------------
    def storm(self, account_numbers: Sequence[str], *, name: str) -> None:
        """The same new request from all callers at once, again and again."""
        self.next_minute()
        for account_number in account_numbers:
            expires_at = end_of_day(self.day.date.replace(year=self.day.date.year + 1))
            call = services.earn(
                service="front",
                account_number=account_number,
                points=STORM_POINTS,
                reason="EVENT",
                reference=f"storm-{name}",
                key=f"storm-{name}-{account_number}",
                expires_at=expires_at,
                name="earn, one key at once",
            )
            answers = self.traffic.at_once(call)
            first = next((answer for answer in answers if not answer.is_replayed), answers[0])
            self.note(
                kind="earn",
                account_number=account_number,
                answer=first,
                service="front",
                points=STORM_POINTS,
                key=call.key,
                expires_at=expires_at,
            )
            for answer in answers:
                if answer is not first:
                    self.note(kind="repeat", account_number=account_number, answer=answer, key=call.key)
        self.settle_accepted()

    def send_old_keys_again(self) -> None:
        def send(caller: Caller, call: Call) -> None:
            account_number = call.path.split("/")[4] if "/accounts/" in call.path else ""
            answer = caller.send(call)
            self.note(kind="repeat", account_number=account_number, answer=answer, key=call.key)

        self.traffic.each(send, self.sent_long_ago)
