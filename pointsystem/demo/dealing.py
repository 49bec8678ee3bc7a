"""What the services do with points, by whichever way each goes, and what they note and remember of it.

A service that has moved calls the API; until then it calls the procedures itself. The answer is noted in the
services' log either way.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from pointsystem.demo import customers, services
from pointsystem.demo.answers import Answer
from pointsystem.demo.customers import draw
from pointsystem.demo.journal import Journal, Kind, Line
from pointsystem.demo.orders import Order
from pointsystem.demo.procedures import Procedures
from pointsystem.demo.traffic import Call, Caller, Traffic
from pointsystem.demo.world import NotSettled, World, local

SETTLE_SECONDS: Final = 120.0
OLD_KEYS_SHARE: Final = 0.03

#: What a service is told in a freeze, and takes for an answer: it comes back later, with the same key.
FROZEN: Final = "spending_frozen"
#: What was accepted is not done yet, or is being done.
UNDER_WAY: Final = ("accepted", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An operation as the service that asked for it remembers it."""

    operation_id: str
    points: int
    service: str
    day: date
    #: Of what went through a procedure: the legacy's row.
    row: int | None = None


@dataclass(slots=True, kw_only=True)
class Dealing:
    """The state of the services: what they remember of their operations."""

    traffic: Traffic
    journal: Journal
    world: World
    #: Services that call the API. The others call procedures.
    moved: set[str] = field(default_factory=set)
    is_frozen: bool = False
    #: By the number of the order that they were for.
    earns: dict[int, Made] = field(default_factory=dict)
    spends: dict[int, Made] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    #: Orders of which the payment was given back.
    paid_back: set[int] = field(default_factory=set)
    #: Operations that were only accepted, with account and service.
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: Spends that were refused in a freeze, with what there is to note of them.
    put_off: list[tuple[Call, str]] = field(default_factory=list)
    sent_long_ago: list[Call] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.world.now

    def remember(self, made: dict[int, Made], order: Order, service: str, line: Line) -> None:
        if line.status in (201, 202) and line.operation_id:
            made[order.number] = Made(
                operation_id=line.operation_id,
                points=line.points or 0,
                service=service,
                day=self.now.date(),
                row=line.row,
            )

    # --- what services do, by whichever way they go -------------------------------------------------
    def earn(
        self,
        caller: Caller,
        *,
        service: str,
        account_number: str,
        points: int,
        reason: str,
        reference: str,
        key: str,
        expires_at: datetime | None = None,
        occurred_at: datetime | None = None,
        is_async: bool = False,
        name: str = "earn",
    ) -> Line:
        call = services.earn(
            service=service,
            account_number=account_number,
            points=points,
            reason=reason,
            reference=reference,
            key=key,
            expires_at=expires_at,
            occurred_at=occurred_at,
            is_async=is_async,
            name=name,
        )

        def directly(procedures: Procedures) -> Answer:
            return procedures.earn(
                service=service,
                account_number=account_number,
                points=points,
                reason=reason,
                reference=reference,
                expires_at=local(expires_at) if expires_at else None,
            )

        return self.operate(
            caller, call, directly, kind="earn", account_number=account_number, expires_at=expires_at
        )

    def spend(self, caller: Caller, *, account_number: str, points: int, reference: str) -> Line | None:
        """None where spending is frozen: it is done later, with the same key."""
        call = services.spend(
            service="billing",
            account_number=account_number,
            points=points,
            reference=reference,
            key=f"{reference}:spend",
        )
        if self.is_frozen:
            answer = caller.send(call, final=[FROZEN])
            if answer.text("code") == FROZEN:
                self.put_off.append((call, account_number))
                return None
            return self.note(
                kind="spend", account_number=account_number, answer=answer, points=points, key=call.key
            )

        def directly(procedures: Procedures) -> Answer:
            return procedures.spend(
                service="billing", account_number=account_number, points=points, reference=reference
            )

        return self.operate(caller, call, directly, kind="spend", account_number=account_number)

    def cancel(self, caller: Caller, order: Order, *, what: str, points: int | None, key: str) -> Line:
        """Cancel what an order earned or paid; None: all that is left of it."""
        made = (self.spends if what == "spend" else self.earns)[order.number]
        if what == "spend":
            self.paid_back.add(order.number)
        asked: dict[str, Any] = {
            "kind": "cancel",
            "account_number": order.account_number,
            "cancels": made.operation_id,
        }
        if made.service not in self.moved:
            row, whole = made.row or 0, points or made.points
            answer = caller.procedures.cancel(
                service=made.service,
                account_number=order.account_number,
                row=row,
                points=whole,
                what=what,
                reference=order.reference,
            )
            return self.note(answer=answer, points=points, **asked)
        operation_id = made.operation_id if made.row is None else self._find(caller, order, made, what)
        call = services.cancel(
            service=made.service,
            operation_id=operation_id,
            points=points,
            reference=order.reference,
            key=key,
        )
        return self.operate(caller, call, None, **asked)

    def _find(self, caller: Caller, order: Order, made: Made, what: str) -> str:
        """What the service did through a procedure, as the API knows it. Raises NotSettled."""
        answer = caller.send(services.find(order.reference, service=made.service))
        found = [
            one["id"]
            for one in (answer.body.get("data", []) if isinstance(answer.body, dict) else [])
            if one["kind"] == what and one["account_number"] == order.account_number
        ]
        if len(found) != 1:
            raise NotSettled(
                f"{order.reference} was found {len(found)} times by its reference: {answer.body}"
            )
        return str(found[0])

    def look(self, caller: Caller, account_number: str, *, service: str) -> int | None:
        """What can be spent now; noted, and compared later."""
        if service in self.moved:
            answer = caller.send(services.balance(account_number, service=service))
        else:
            answer = caller.procedures.balance(account_number)
        self.note(kind="balance", account_number=account_number, answer=answer)
        return answer.whole("available")

    def settle_accepted(self) -> None:
        """Wait until the workers did what was accepted; the answers are noted like all others. In a freeze
        nothing is done, and nobody waits."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        pause_seconds = 0.02
        while self.accepted and not self.is_frozen:
            self.traffic.each(self._look_at_accepted, sorted(self.accepted))
            if not self.accepted:
                return
            if time.monotonic() > give_up_at:
                raise NotSettled(f"{len(self.accepted)} accepted operations were not done by any worker.")
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, 0.5)

    def _look_at_accepted(self, caller: Caller, operation_id: str) -> None:
        account_number, service = self.accepted[operation_id]
        answer = caller.send(services.operation(operation_id, service=service))
        if answer.text("state") in UNDER_WAY:
            return
        del self.accepted[operation_id]
        self.note(kind="settled", account_number=account_number, answer=answer)

    def do_put_off(self) -> int:
        """Send again, with the same keys, what was refused in the freeze; how many there were."""
        put_off, self.put_off = self.put_off, []

        def send(caller: Caller, one: tuple[Call, str]) -> None:
            call, account_number = one
            self.operate(caller, call, None, kind="spend", account_number=account_number)

        self.traffic.each(send, put_off)
        return len(put_off)

    # --- calls and their notes ----------------------------------------------------------------------
    def operate(
        self,
        caller: Caller,
        call: Call,
        directly: Callable[[Procedures], Answer] | None,
        *,
        kind: Kind,
        account_number: str,
        **asked: Any,
    ) -> Line:
        """Ask the API, or the procedure as long as the service did not move, and note the answer."""
        points = (call.body or {}).get("points")
        if directly is not None and call.service not in self.moved:
            answer = directly(caller.procedures)
            return self.note(kind=kind, account_number=account_number, answer=answer, points=points, **asked)
        answer = caller.send(call)
        if kind == "cancel" and answer.status == 202 and not self.is_frozen:
            answer = self._ended(caller, call, answer)
        line = self.note(
            kind=kind,
            account_number=account_number,
            answer=answer,
            service=call.service,
            points=points,
            key=call.key,
            **asked,
        )
        if customers.is_sent_again(str(call.key)):
            again = caller.send(call)
            self.note(kind="repeat", account_number=account_number, answer=again, key=call.key)
        elif draw("old key", str(call.key)) < OLD_KEYS_SHARE:
            self.sent_long_ago.append(call)
        return line

    def _ended(self, caller: Caller, call: Call, accepted: Answer) -> Answer:
        """What became of a cancel that was accepted, as if it had been answered at once: only then is it
        known whether it was refused. Raises NotSettled."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        operation_id = accepted.text("id") or ""
        while time.monotonic() < give_up_at:
            answer = caller.send(services.operation(operation_id, service=call.service))
            if answer.text("state") == "completed":
                return Answer(status=201, body=answer.body, is_replayed=False)
            if answer.text("state") == "failed":
                body = {"operation_id": operation_id, "code": answer.body["refusal"]["code"]}
                return Answer(status=422, body=body, is_replayed=False)
            time.sleep(0.05)
        raise NotSettled(f"The accepted cancel {operation_id} was not done by any worker.")

    def note(
        self, *, kind: Kind, account_number: str, answer: Answer, service: str = "", **asked: Any
    ) -> Line:
        line = Line(
            at=self.now,
            kind=kind,
            account_number=account_number,
            status=answer.status,
            operation_id=answer.text("id") or answer.text("operation_id"),
            state=answer.text("state"),
            code=answer.text("code"),
            available=answer.whole("available" if kind == "balance" else "balance_after"),
            uncollected_points=answer.whole("uncollected_points"),
            is_replayed=answer.is_replayed,
            row=answer.whole("row"),
            **asked,
        )
        self.journal.write(line)
        if answer.status == 202 and kind in ("earn", "cancel") and line.operation_id:
            self.accepted[line.operation_id] = (account_number, service)
        return line
