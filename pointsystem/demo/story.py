"""What happens on which day beside what customers do: the cutover, from the first procedure to the end.

The operator works in a thread of its own (`control`), on days of the week without nightly jobs. A stage is
changed while the days go on; they wait for the operator only where the next chapter needs what came before.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from cutover import routes
from pointsystem.demo import services, sides
from pointsystem.demo.control import ControlRoom, Step
from pointsystem.demo.customers import GIFT_POINTS, draw
from pointsystem.demo.journal import Line
from pointsystem.demo.pulse import Till
from pointsystem.demo.replay import Replay
from pointsystem.demo.timeline import Day
from pointsystem.demo.traffic import Caller

#: The procedures alone until then.
API_OPENS: Final = date(1997, 10, 1)
EVERYBODY_DAY: Final = date(1997, 7, 1)
LOYAL_DAY: Final = date(1997, 12, 1)
FREEZE_DAY: Final = date(1998, 1, 14)

STORMS: Final = 4
CANCELS_OF_AN_AGE: Final = 3
COUPONS: Final = 40
COUPON_POINTS: Final = 100
GIFTS: Final = 2
LOYAL_SHARE: Final = 0.1

#: Ages of the story: spends that were made within one are cancelled in the later ones. Between them stages
#: were changed, and nobody can say beforehand which side a spend met.
AGES: Final = (
    ("procedures", date(1997, 1, 1), date(1997, 10, 19)),
    ("LEGACY_ONLY", date(1997, 10, 21), date(1997, 12, 9)),
    ("LEGACY_FIRST", date(1997, 12, 18), date(1998, 1, 13)),
    ("NEW_FIRST", date(1998, 1, 16), date(1998, 2, 10)),
    ("NEW_ONLY", date(1998, 4, 17), date(1998, 5, 12)),
)


def age_of(day: date) -> str | None:
    return next((name for name, first, last in AGES if first <= day <= last), None)


@dataclass(slots=True)
class Freeze:
    """What came of the window in which nothing was decided."""

    queued: Counter[str] = field(default_factory=Counter)
    refused_spends: int = 0
    repeated_spends: int = 0
    #: What the inbox held at its fullest, and after the end.
    in_inbox: int = 0
    left_in_inbox: int = 0


@dataclass(slots=True, kw_only=True)
class Story:
    """The days with something special, and what they came to."""

    replay: Replay
    control: ControlRoom
    till: Till
    say: Callable[[str], None]
    days: dict[date, Callable[[], None]] = field(init=False)
    freeze: Freeze = field(default_factory=Freeze)
    compared: dict[str, sides.Compared] = field(default_factory=dict)
    #: How many spends of which age were cancelled in which stage.
    cancelled: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: The same for those that were to be cancelled: in a part of the orders there may be none.
    to_cancel: Counter[tuple[str, str]] = field(default_factory=Counter)
    storms: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.days = {
            EVERYBODY_DAY: lambda: self.replay.hold_event(sorted(self.replay.ordered)),
            API_OPENS: self._open_api,
            date(1997, 10, 6): lambda: self._move("order"),
            date(1997, 10, 13): lambda: self._move("front"),
            date(1997, 10, 20): lambda: self._move("billing"),
            date(1997, 10, 27): lambda: self._move("member"),
            date(1997, 10, 29): self._look_closely,
            date(1997, 11, 5): self._move_history,
            date(1997, 11, 26): self.control.wait,
            LOYAL_DAY: lambda: self.replay.hold_event(self._loyal()),
            date(1997, 12, 10): lambda: self._begin("to LEGACY_FIRST", self.control.advance),
            date(1997, 12, 11): lambda: self._begin("caught up", self.control.catch_up),
            date(1997, 12, 17): self.control.wait,
            date(1997, 12, 18): lambda: self._move("voucher"),
            date(1997, 12, 19): self._look_closely,
            FREEZE_DAY: self._freeze_and_switch,
            date(1998, 1, 21): self._look_closely,
            date(1998, 2, 5): lambda: self._close_month("1998-01"),
            date(1998, 2, 11): lambda: self._begin("back to LEGACY_FIRST", self.control.rollback),
            date(1998, 2, 17): self.control.wait,
            date(1998, 2, 19): self._look_closely,
            date(1998, 2, 25): lambda: self._begin("forward to NEW_FIRST", self.control.advance),
            date(1998, 3, 4): self.control.wait,
            date(1998, 3, 5): lambda: self._close_month("1998-02"),
            date(1998, 4, 2): lambda: self._close_month("1998-03"),
            date(1998, 4, 7): lambda: self._compare("before NEW_ONLY"),
            date(1998, 4, 8): lambda: self._begin("to NEW_ONLY", self.control.advance),
            date(1998, 4, 16): self.control.wait,
            date(1998, 4, 22): self._look_closely,
            date(1998, 5, 13): self._finish,
            date(1998, 5, 20): self._look_closely,
        }

    # --- for the days -------------------------------------------------------------------------------
    def in_the_morning(self, day: Day) -> None:
        act = self.days.get(day.date)
        if act is not None:
            act()

    def is_switching(self) -> bool:
        return self.control.is_busy

    def wait(self) -> None:
        self.control.wait()

    def end(self) -> None:
        """What is done once, when the last day is over."""
        self.control.wait()
        self.replay.send_old_keys_again()
        self.till.close()

    # --- chapters -----------------------------------------------------------------------------------
    def _open_api(self) -> None:
        route = routes.current()
        self.say(f"The API opens in front of the procedures: {route.stage.value}, epoch {route.epoch}")
        self.replay.moved.add("till")
        self.till.open()

    def _move(self, service: str) -> None:
        self.replay.moved.add(service)
        since = (self.replay.day.date - timedelta(days=6)).isoformat()
        self.say(f"{service} calls the API from now on")

        def tell(step: Step) -> None:
            self.control.tell_callers(step, since=since)

        self._begin(f"callers when {service} moved", tell)

    def _move_history(self) -> None:
        self._begin("capture", self.control.capture)
        self._begin("migration", self.control.migrate)
        self._begin("verification", self.control.verify)

    def _close_month(self, month: str) -> None:
        def reconcile(step: Step) -> None:
            self.control.reconcile(step, month=month)

        self._begin(f"month {month}", reconcile)

    def _freeze_and_switch(self) -> None:
        """Spends are refused, earns and cancels queue, both sides are compared, and the switch is made."""
        self.control.wait()
        replay = self.replay
        event = self._loyal()
        coupons = self._who_can_pay(COUPON_POINTS, event)
        self.control.begin("freeze", self.control.freeze)
        self.control.wait()
        replay.is_frozen = True
        replay.hold_event(event)
        self._cancel_in_freeze()
        replay.traffic.each(self._redeem, coupons)
        self.freeze.refused_spends = len(replay.put_off)
        self.freeze.queued.update(self._kinds_accepted())
        self.freeze.in_inbox = sides.inbox_count()
        self.say(
            f"Frozen: {self.freeze.in_inbox:,} earns and cancels wait in the inbox,"
            f" {self.freeze.refused_spends} spends were refused"
        )
        self.control.begin("caught up in the freeze", self.control.catch_up)
        self.control.begin("verification in the freeze", self.control.verify)
        self.control.wait()
        self._compare("in the freeze")
        self.control.begin("to NEW_FIRST, in the freeze", self.control.advance)
        self.control.begin("thaw", self.control.thaw)
        self.control.wait()
        replay.is_frozen = False
        self.freeze.repeated_spends = replay.do_put_off()
        replay.settle_accepted()
        self.freeze.left_in_inbox = sides.inbox_count(before_now=True)

    def _who_can_pay(self, points: int, among: Sequence[str]) -> list[str]:
        """Some of these who have so many points."""
        asked = sorted(among, key=lambda number: draw("coupon", number))[: 3 * COUPONS]

        def look(caller: Caller, number: str) -> tuple[str, int]:
            return number, self.replay.look(caller, number, service="billing") or 0

        able = [number for number, available in self.replay.traffic.each(look, asked) if available >= points]
        return able[:COUPONS]

    def _redeem(self, caller: Caller, account_number: str) -> None:
        reference = f"coupon-{account_number}"
        self.replay.spend(caller, account_number=account_number, points=COUPON_POINTS, reference=reference)

    def _cancel_in_freeze(self) -> None:
        """Payments of a few days ago are given back: the cancels queue."""
        replay = self.replay
        found = self._spends_of("LEGACY_FIRST")[:CANCELS_OF_AN_AGE]

        def cancel(caller: Caller, number: int) -> None:
            order = replay.orders[number]
            key = f"{order.reference}:cancel-in-freeze"
            replay.cancel(caller, order, what="spend", points=None, key=key)

        replay.traffic.each(cancel, found)

    def _kinds_accepted(self) -> Counter[str]:
        return Counter(service for _, service in self.replay.accepted.values())

    def _compare(self, name: str) -> None:
        self.control.wait()
        found = sides.compare()
        self.compared[name] = found
        self.say(
            f"Both sides {name}: {found.accounts:,} accounts, {found.lots:,} lots with"
            f" {found.ledger_points:,} points; different {len(found.different):,}"
        )

    def _finish(self) -> None:
        """Nobody is at work on the accounts of the shop's customers while the rules change."""
        self._begin("finish", self.control.finish)
        self.control.wait()
        replay = self.replay
        replay.journal.write(Line(at=replay.now, kind="finished", account_number="", status=0))
        replay.gives_gifts = True

    # --- what is done in every stage ----------------------------------------------------------------
    def _look_closely(self) -> None:
        """The same key from all at once, and cancels of what was paid in all ages before."""
        self.control.wait()
        replay, stage = self.replay, self._stage()
        chosen = sorted(replay.ordered, key=lambda number: draw("storm", stage, number))[:STORMS]
        replay.storm(chosen, name=replay.day.date.isoformat())
        self.storms[stage] += len(chosen)
        replay.next_minute()
        for age, _, last in AGES:
            if last < replay.day.date:
                self._cancel_of(age, stage)
        replay.settle_accepted()
        self._try_gifts()

    def _try_gifts(self) -> None:
        """The legacy has no form for gifts: they are refused until it is no longer asked."""
        replay = self.replay
        replay.next_minute()
        givers = self._who_can_pay(GIFT_POINTS, sorted(replay.ordered - {*replay.day.account_numbers}))[
            :GIFTS
        ]

        def give(caller: Caller, giver: str) -> None:
            receiver = f"TILL-{giver}"
            call = services.transfer(
                giver=giver,
                receiver=receiver,
                points=GIFT_POINTS,
                reference=f"gift-{replay.day.date}-{giver}",
            )
            replay.note(
                kind="transfer",
                account_number=giver,
                to_account_number=receiver,
                answer=caller.send(call),
                points=GIFT_POINTS,
                key=call.key,
            )

        replay.traffic.each(give, givers)

    def _stage(self) -> str:
        route = routes.current()
        return "finished" if route.is_finished else route.stage.value

    def _spends_of(self, age: str) -> list[int]:
        """Orders that were paid with points in this age, and not given back yet."""
        replay = self.replay
        return sorted(
            (
                number
                for number, made in replay.spends.items()
                if age_of(made.day) == age
                and number not in replay.paid_back
                and replay.orders[number].account_number not in replay.day.account_numbers
            ),
            key=lambda number: draw("regret", number),
        )

    def _cancel_of(self, age: str, stage: str) -> None:
        replay = self.replay

        def cancel(caller: Caller, number: int) -> bool:
            order = replay.orders[number]
            key = f"{order.reference}:cancel-late"
            return replay.cancel(caller, order, what="spend", points=None, key=key).status == 201

        chosen = self._spends_of(age)[:CANCELS_OF_AN_AGE]
        self.to_cancel[age, stage] += len(chosen)
        self.cancelled[age, stage] += sum(replay.traffic.each(cancel, chosen))

    def _loyal(self) -> list[str]:
        """Some of the customers who have no other business today."""
        others = self.replay.ordered - {*self.replay.day.account_numbers}
        return sorted(number for number in others if draw("loyal", number) < LOYAL_SHARE)

    def _begin(self, name: str, work: Callable[[Step], None]) -> None:
        self.control.begin(name, work)
