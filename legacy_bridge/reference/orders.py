"""Fills the reference legacy with real orders, through its procedures, at the orders' own past dates.

The file is of the CDNOW format: each line an order, of which the second column names the customer, the third
the day and the fifth the dollars. Every order earns; what else happens follows from its number, so that every
replay comes to the same points. The replay stops the clock at each order, so nobody else may work meanwhile.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from legacy_bridge.calling import Out, call_procedure, text, whole
from legacy_bridge.errors import NotDone
from legacy_bridge.reference import clock
from legacy_bridge.sessions import Session

_CENTS_A_POINT: Final = 10
_EVENT_POINTS: Final = 100
_EVENT_DAYS: Final = 60
_RETURNED_AFTER: Final = timedelta(days=10)


class FileInvalid(Exception):
    """A line of the file is no order; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    number: int
    member: str
    day: date
    points: int


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What the replay did."""

    orders: int = 0
    calls: int = 0
    refused: int = 0


def read_orders(path: Path, *, limit: int | None = None, last_day: date | None = None) -> list[Order]:
    """The orders by day; with `last_day` all are moved so that the last one falls on it.

    Raises FileInvalid, OSError.
    """
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()[:limit]
    orders = [_order(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    moved = timedelta(0)
    if last_day is not None and orders:
        moved = last_day - max(order.day for order in orders)
    shifted = [
        Order(number=order.number, member=order.member, day=order.day + moved, points=order.points)
        for order in orders
    ]
    return sorted(shifted, key=lambda order: (order.day, order.number))


def _order(number: int, line: str) -> Order:
    try:
        _, customer, day, _, dollars = line.split()
        return Order(
            number=number,
            member=f"CD-{customer}",
            day=date(int(day[:4]), int(day[4:6]), int(day[6:])),
            points=int(Decimal(dollars) * 100) // _CENTS_A_POINT,
        )
    except (ValueError, InvalidOperation) as error:
        raise FileInvalid(f"Line {number} is no order: {line[:60]!r}") from error


def replay(session: Session, orders: Sequence[Order], *, on_order: Callable[[int], None]) -> Replayed:
    """Play the orders in their order, with the nightly job and the statistics of each month at its end.

    Raises NotDone when a procedure answers anything but done or refused.
    """
    run = _Run(session=session)
    try:
        for month, of_month in groupby(orders, key=lambda order: order.day.replace(day=1)):
            # PostgreSQL's procedures do not commit: a transaction for each month saves most of the time.
            with session.transaction() if session.vendor == "postgresql" else _nothing():
                for order in of_month:
                    run.play(order)
                    on_order(run.done.orders)
                run.end_month(month)
    finally:
        clock.run(session)
    return run.done


def _nothing() -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(slots=True, kw_only=True)
class _Run:
    session: Session
    done: Replayed = field(default_factory=Replayed)
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    #: By day: what is brought back then, as (procedure, member, row, points, trade number).
    returns: dict[date, list[tuple[str, str, int, int, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _day: date = date.min
    _of_day: int = 0

    def play(self, order: Order) -> None:
        if order.day != self._day:
            self._begin_day(order.day)
        self._of_day += 1
        # Orders of a day come a minute apart, from nine in the morning.
        clock.stop_at(
            self.session, local=datetime.combine(order.day, time(9)) + timedelta(minutes=self._of_day)
        )
        self.done.orders += 1
        trade = f"order-{order.number}"
        if order.number % 3 == 0 and self.balances[order.member] >= 10:
            self._pay(order, trade)
        if order.points == 0:
            return
        row = self._call("PR_POINT_EARN", [order.member, "11", order.points, "D", None, trade], "ORDER")
        if row is not None and order.number % 17 == 0:
            self._bring_back("PR_POINT_EARN_CANCEL", order, row, max(1, order.points // 2), trade)
        if order.number % 5 == 0:
            lapses = datetime.combine(order.day + timedelta(days=_EVENT_DAYS), time())
            event = [order.member, "13", _EVENT_POINTS, "G", lapses, f"event-{order.day:%Y%m}"]
            self._call("PR_POINT_EARN", event, "VOUCHER")

    def _pay(self, order: Order, trade: str) -> None:
        points = max(1, self.balances[order.member] * 2 // 3)
        row = self._call("PR_POINT_USE", [order.member, "21", points, trade], "FRONT")
        if row is not None and order.number % 2 == 0:
            self._bring_back("PR_POINT_USE_CANCEL", order, row, max(1, points // 3), trade)

    def _bring_back(self, procedure: str, order: Order, row: int, points: int, trade: str) -> None:
        self.returns[order.day + _RETURNED_AFTER].append((procedure, order.member, row, points, trade))

    def _begin_day(self, day: date) -> None:
        for past in sorted(due for due in self.returns if due <= day):
            clock.stop_at(self.session, local=datetime.combine(past, time(8)))
            for procedure, member, row, points, trade in self.returns.pop(past):
                self._call(procedure, [member, row, points, "31", trade], "ORDER")
        self._day, self._of_day = day, 0

    def end_month(self, month: date) -> None:
        end = (month + timedelta(days=32)).replace(day=1)
        self._begin_day(end - timedelta(days=1))
        moment = datetime.combine(end, time()) - timedelta(seconds=1)
        clock.stop_at(self.session, local=moment)
        self._batch("PR_POINT_EXPIRE", [moment, "BATCH"], outs=5)
        self._batch("PR_POINT_STAT_MONTH", [f"{month:%Y%m}"], outs=3)

    def _call(self, procedure: str, arguments: Sequence[Any], caller: str) -> int | None:
        """The row that it became, or None where it was refused. Direct callers give no request id."""
        code, message, row, balance, _, _ = self._answer(procedure, [*arguments, None, caller], outs=6)
        self.done.calls += 1
        if text(code) in ("E01", "E04"):
            self.done.refused += 1
            return None
        if text(code) != "S":
            raise NotDone(f"{procedure} answered {code}: {message}")
        self.balances[arguments[0]] = whole(balance)
        return whole(row)

    def _batch(self, procedure: str, arguments: Sequence[Any], *, outs: int) -> None:
        code, message, *_ = self._answer(procedure, arguments, outs=outs)
        if text(code) != "S":
            raise NotDone(f"{procedure} answered {code}: {message}")

    def _answer(self, procedure: str, arguments: Sequence[Any], *, outs: int) -> tuple[Any, ...]:
        schema = "legacy." if self.session.vendor == "postgresql" else ""
        return call_procedure(self.session, schema + procedure, [*arguments, *[Out()] * outs])
