"""The whole way, forwards and backwards, with everything that happens on it: nothing lost, nothing twice."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest

from cutover import face, routes, settling
from cutover.mirroring import to_ledger, worker
from cutover.models import Intent, MirrorMessage, Mismatch, Stage
from ledger import errors
from ledger.database import fetch_all
from ledger.models import Operation
from ledger.verification import verify
from tests.cutover import sides
from tests.cutover.conftest import CAPTURE, STAGES, set_stage, stop_capturing
from tests.cutover.legacy_calls import call_directly, lose_answer
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")

ACCOUNTS = 4


@pytest.fixture(autouse=True)
def short_waits(settings: Any) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.1


class Traveller:
    """A client, and an operator, who do at random what there is to do; and what that must come to."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.client = ClientFactory().id
        self.accounts = [account_number() for _ in range(ACCOUNTS)]
        self.expected = dict.fromkeys(self.accounts, 0)
        self.unknown: list[Any] = []
        #: Operation, account, kind, points that are not cancelled.
        self.done: list[list[Any]] = []
        self.counts: dict[str, int] = {}

    def step(self) -> None:
        act = self.random.choices(
            [self.earn, self.spend, self.cancel, self.directly, self.lose, self.work, self.move],
            weights=[20, 20, 12, 6, 4, 14, 6],
        )[0]
        self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
        act()

    @property
    def stage(self) -> Stage:
        return routes.current().stage

    def any_account(self) -> dict[str, Any]:
        return {"client_id": self.client, "account_number": self.random.choice(self.accounts)}

    def give(self, command: Any, sign: int, account: str, kind: str) -> None:
        try:
            outcome = face.execute(command)
        except (errors.InsufficientPoints, errors.AccountHeld, errors.AccountBusy):
            return
        except (errors.EarnAlreadySpent, errors.NotCancellable):
            return
        except errors.OutcomeUnknown:
            self.unknown.append((command, sign, account, kind))
            return
        if outcome.operation.state == "accepted":
            self.unknown.append((command, sign, account, kind))
            return
        self.count(command, sign, account, kind, outcome.operation.points)

    def count(self, command: Any, sign: int, account: str, kind: str, points: int) -> None:
        self.expected[account] += sign * points
        if kind in ("earn", "spend"):
            self.done.append([command.operation_id, account, kind, points])

    def earn(self) -> None:
        mine = self.any_account()
        reason = self.random.choice(["ORDER_REWARD", "GIFT_CARD"])
        command = EarnFactory(**mine, points=self.random.randint(1, 500), reason=reason)
        self.give(command, 1, mine["account_number"], "earn")

    def spend(self) -> None:
        mine = self.any_account()
        command = SpendFactory(**mine, points=self.random.randint(1, 400))
        self.give(command, -1, mine["account_number"], "spend")

    def cancel(self) -> None:
        if not self.done:
            return
        operation_id, account, kind, _ = self.random.choice(self.done)
        self.cancel_of(operation_id, account, kind, points=self.random.choice([None, None, 7, 50]))

    def cancel_of(self, operation_id: UUID, account: str, kind: str, *, points: int | None) -> None:
        command = CancelFactory(
            client_id=self.client, cancelled_operation_id=operation_id, points=points, any_client=True
        )
        self.give(command, -1 if kind == "earn" else 1, account, "cancel")

    def directly(self) -> None:
        """A service that still calls procedures; and a client that cancels what it did there."""
        if not routes.current().legacy_decides:
            return
        number = self.random.choice(self.accounts)
        if MirrorMessage.objects.filter(
            account_number=number, direction="to_legacy", state="waiting"
        ).exists():
            # What the legacy is still owed would come after it: the same points, but other lots.
            return
        if self.random.random() < 0.5:
            points = self.random.randint(1, 200)
            call_directly("PR_POINT_EARN", number, "11", points, "D", None)
            self.expected[number] += points
            return
        reference = f"T{self.random.getrandbits(60):x}"
        if sum(sides.of_legacy(number).values()) < 30:
            return
        call_directly("PR_POINT_USE", number, "21", 30, reference=reference)
        self.expected[number] -= 30
        worker.look_for_strangers(again=False)
        if Intent.objects.filter(account_number=number, state__in=["open", "in_doubt"]).exists():
            return
        page = face.operations_by_reference(client_id=self.client, any_client=True, reference=reference)
        (found,) = page.data
        self.cancel_of(found.id, number, "spend", points=self.random.choice([None, 10]))

    def lose(self) -> None:
        if not routes.current().legacy_decides:
            return
        with pytest.MonkeyPatch.context() as patch:
            lose_answer(patch, done=self.random.random() < 0.5)
            self.random.choice([self.earn, self.spend])()

    def work(self) -> None:
        """What the workers do, sooner or later."""
        fetch_all("UPDATE cutover_intent SET leased_until = clock_timestamp() WHERE state = 'open'")
        settling.settle_due()
        if routes.current().capture and self.stage is not Stage.NEW_ONLY:
            worker.look_for_strangers(again=True)
        fetch_all(
            "UPDATE cutover_message SET due_at = clock_timestamp()"
            " WHERE state = 'waiting' AND due_at > clock_timestamp()"
        )
        worker.run(budget_seconds=5)
        routes.forget_hints()
        face.drain_inbox(account_numbers=self.accounts)
        self.look_up()

    def look_up(self) -> None:
        """Ask again for what was not known: the same key gives its outcome."""
        left = []
        for command, sign, account, kind in self.unknown:
            operation = Operation.objects.filter(id=command.operation_id).first()
            if operation is not None and operation.state == "completed":
                self.count(command, sign, account, kind, operation.points)
            elif operation is None or operation.state != "failed":
                left.append((command, sign, account, kind))
        self.unknown = left

    def move(self) -> None:
        now = STAGES.index(self.stage)
        target = STAGES[min(max(now + self.random.choice([-1, 1, 1]), 0), 3)]
        self.move_to(target)

    def move_to(self, target: str) -> None:
        before = self.stage
        if before == "LEGACY_FIRST" and target == "NEW_FIRST":
            worker.look_for_strangers(again=True)
        if before == target == "LEGACY_ONLY" and self.random.random() < 0.5:
            stop_capturing()
            routes.forget_hints()
            return
        if target == "LEGACY_FIRST" and before == "LEGACY_ONLY":
            fetch_all(CAPTURE)
            set_stage(target)
            # The delta: what was done while nothing was captured.
            to_ledger.tell_each(self.accounts)
            return
        set_stage(target)

    def arrive(self) -> None:
        """Everything settled, on both sides."""
        if self.stage == "NEW_ONLY":
            set_stage("NEW_FIRST")
        if self.stage == "LEGACY_ONLY":
            self.move_to("LEGACY_FIRST")
        for _ in range(12):
            self.work()
            waiting = MirrorMessage.objects.filter(
                account_number__in=self.accounts, state__in=["waiting", "parked"]
            )
            if not self.unknown and not waiting.exists():
                break
        if routes.current().legacy_decides:
            to_ledger.tell_each(self.accounts)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--travels")))


def test_whatever_happens_on_the_way_both_sides_come_to_the_same(seed: int) -> None:
    traveller = Traveller(seed)
    for _ in range(150):
        traveller.step()
    traveller.arrive()
    parked = MirrorMessage.objects.filter(account_number__in=traveller.accounts, state="parked")
    assert list(parked.values_list("direction", "last_error", "payload")) == []
    assert traveller.unknown == []
    for number in traveller.accounts:
        assert sum(sides.of_ledger(number).values()) == traveller.expected[number]
        sides.assert_equal(number)


def test_who_calls_a_procedure_on_a_held_account_changes_the_order_of_lots_and_no_points() -> None:
    mine = {"client_id": ClientFactory().id, "account_number": account_number()}
    number = mine["account_number"]
    set_stage("NEW_FIRST")
    face.execute(EarnFactory(**mine, points=100))
    face.execute(SpendFactory(**mine, points=40))
    set_stage("LEGACY_FIRST")
    call_directly("PR_POINT_EARN", number, "11", 70, "D", None)
    worker.run(budget_seconds=5)
    face.execute(SpendFactory(**mine, points=80))
    worker.look_for_strangers(again=True)
    worker.run(budget_seconds=5)

    assert sum(sides.of_ledger(number).values()) == sum(sides.of_legacy(number).values()) == 50
    assert {
        state for (state,) in MirrorMessage.objects.filter(account_number=number).values_list("state")
    } == {"applied"}
    found = Mismatch.objects.filter(account_number=number)
    assert {mismatch.difference for mismatch in found} == {"order"}


def test_the_ledger_proves_the_whole_way() -> None:
    assert [breach.sentence() for breach in verify().breaches] == []
