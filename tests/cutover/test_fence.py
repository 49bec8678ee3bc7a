"""Who may decide when: said by the database, whatever code asks."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from cutover import face, routes
from cutover.mirroring import worker
from cutover.models import MirrorMessage
from ledger import errors
from ledger import face as ledger
from ledger.database import fetch_all, violated_constraint
from ledger.models import Operation
from tests.cutover import sides
from tests.cutover.conftest import STAGES, set_stage
from tests.cutover.legacy_calls import in_thread, lose_answer
from tests.factories import (
    AdjustFactory,
    CancelFactory,
    ClientFactory,
    EarnFactory,
    SpendFactory,
    TransferFactory,
    account_number,
)

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture(autouse=True)
def short_waits(settings: Any) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.2


@pytest.fixture
def mine(legacy_only: Any) -> dict[str, Any]:
    """A client and an account with 100 points on both sides."""
    given = {"client_id": ClientFactory().id, "account_number": account_number()}
    set_stage("LEGACY_FIRST")
    face.execute(EarnFactory(**given, points=100))
    worker.run(budget_seconds=5)
    sides.assert_equal(given["account_number"])
    return given


def freeze(minutes: float) -> None:
    fetch_all(
        "UPDATE cutover_route SET freeze_until = clock_timestamp() + %s * interval '1 minute',"
        " epoch = epoch + 1 WHERE cohort = 'default'",
        [minutes],
    )
    routes.forget_hints()


def thaw() -> None:
    fetch_all("UPDATE cutover_route SET freeze_until = NULL, epoch = epoch + 1 WHERE cohort = 'default'")
    routes.forget_hints()


@pytest.fixture(autouse=True)
def thawed(legacy_only: Any) -> Any:
    yield
    if routes.current().freeze_until is not None:
        thaw()


def refused_by(work: Any) -> str | None:
    with pytest.raises(IntegrityError) as refused:
        work()
    return violated_constraint(refused.value)


@pytest.mark.parametrize("stage", ["LEGACY_ONLY", "LEGACY_FIRST"])
def test_the_ledger_decides_nothing_while_the_legacy_does(mine: dict[str, Any], stage: str) -> None:
    set_stage(stage)
    earn = EarnFactory(**mine, points=5)

    assert refused_by(lambda: ledger.execute(earn)) == "route_lets_ledger_decide"
    spend = SpendFactory(**mine, points=1000)
    assert refused_by(lambda: ledger.execute(spend)) == "route_lets_ledger_decide"
    assert not Operation.objects.filter(id__in=[earn.operation_id, spend.operation_id]).exists()


@pytest.mark.parametrize("stage", ["NEW_FIRST", "NEW_ONLY"])
def test_what_the_ledger_decides_says_under_which_epoch_and_is_recorded(
    mine: dict[str, Any], stage: str
) -> None:
    set_stage(stage)
    spend = SpendFactory(**mine, points=30)
    outcome = face.execute(spend)

    operation = Operation.objects.get(id=spend.operation_id)
    assert (operation.stage, operation.epoch) == (stage, routes.current().epoch)
    message = MirrorMessage.objects.get(operation_id=spend.operation_id)
    assert (message.direction, message.state, message.epoch) == ("to_legacy", "waiting", operation.epoch)
    assert outcome.operation.balance_after == 70


def test_all_pairs_of_stages_but_the_neighbours_are_refused(mine: dict[str, Any]) -> None:
    refused = {}
    for start in STAGES:
        for end in STAGES:
            set_stage(start)
            refused[start, end] = _refused(end)

    steps = {(a, b) for a in range(4) for b in range(4) if abs(a - b) <= 1}
    assert refused == {
        (STAGES[a], STAGES[b]): None if (a, b) in steps else "route_moves_one_step"
        for a in range(4)
        for b in range(4)
    }


def _refused(stage: str) -> str | None:
    statement = (
        "UPDATE cutover_route SET capture = true, stage = %s, epoch = epoch + 1 WHERE cohort = 'default'"
    )
    try:
        with transaction.atomic():
            fetch_all("UPDATE cutover_route SET capture = true, epoch = epoch + 1 WHERE cohort = 'default'")
            fetch_all(statement, [stage])
            transaction.set_rollback(True)
    except IntegrityError as error:
        return violated_constraint(error)
    return None


def test_an_account_that_the_old_decider_still_owes_is_held(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    face.execute(SpendFactory(**mine, points=10))
    set_stage("NEW_FIRST")
    spend, earn = SpendFactory(**mine, points=20), EarnFactory(**mine, points=7)

    with pytest.raises(errors.AccountHeld):
        face.execute(spend)
    assert refused_by(lambda: ledger.execute(spend)) == "account_is_not_held"
    assert face.execute(earn).operation.state == "accepted"
    assert face.balance(account_number=number).available == 90

    other = {**mine, "account_number": account_number()}
    assert face.execute(EarnFactory(**other, points=1)).operation.state == "completed"

    worker.run(budget_seconds=5)
    routes.forget_hints()
    face.drain_inbox()
    assert face.execute(spend).operation.balance_after == 77
    assert [row.kind for row in face.history_page(account_number=number).data] == [
        "spend",
        "earn",
        "spend",
        "earn",
    ]


def test_a_cancel_of_what_is_still_on_its_way_waits_with_it(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    spend, earn = SpendFactory(**mine, points=10), EarnFactory(**mine, points=5)
    face.execute(spend)
    face.execute(earn)
    set_stage("NEW_FIRST")
    cancels = [
        CancelFactory(client_id=mine["client_id"], cancelled_operation_id=command.operation_id)
        for command in (spend, earn)
    ]
    with pytest.raises(errors.AccountHeld):
        ledger.execute(cancels[0])
    first, second = face.execute_all(cancels)
    assert [first.operation.state, second.operation.state] == ["accepted", "accepted"]
    assert ledger.drain_inbox(account_numbers=[number]) == 0

    worker.run(budget_seconds=5)
    routes.forget_hints()
    assert face.drain_inbox(account_numbers=[number]) == 2
    assert face.balance(account_number=number).available == 100


def test_an_operation_in_the_dark_holds_its_account_and_its_key(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cutover import settling

    spend = SpendFactory(**mine, points=10)
    lose_answer(monkeypatch, done=True)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(spend)
    set_stage("NEW_FIRST")

    with pytest.raises(errors.OperationInProgress):
        face.execute(spend)
    with pytest.raises(errors.AccountHeld):
        face.execute(SpendFactory(**mine, points=1))

    settling.settle_due()
    worker.run(budget_seconds=5)
    replayed = face.execute(spend)
    assert (replayed.is_replayed, replayed.operation.state) == (True, "completed")
    assert face.execute(SpendFactory(**mine, points=1)).operation.balance_after == 89


@pytest.mark.parametrize("stage", STAGES)
def test_a_freeze_refuses_spends_queues_the_rest_and_reads_on(mine: dict[str, Any], stage: str) -> None:
    number = mine["account_number"]
    known = SpendFactory(**mine, points=10)
    face.execute(known)
    worker.run(budget_seconds=5)
    set_stage(stage)
    freeze(30)
    spend, earn = SpendFactory(**mine, points=20), EarnFactory(**mine, points=7)
    cancel = CancelFactory(client_id=mine["client_id"], cancelled_operation_id=known.operation_id)

    with pytest.raises(errors.SpendingFrozen):
        face.execute(spend)
    assert face.execute(known).is_replayed
    assert face.execute(earn).operation.state == "accepted"
    assert face.execute(cancel).operation.state == "accepted"
    assert face.drain_inbox() == 0
    assert face.balance(account_number=number).available == 90
    with pytest.raises(errors.SpendingFrozen):
        face.execute(spend)

    thaw()
    assert face.drain_inbox(account_numbers=[number]) == 2
    assert face.balance(account_number=number).available == 107
    assert face.execute(spend).operation.state == "completed"


def test_a_freeze_that_nobody_ends_ends_by_itself(mine: dict[str, Any]) -> None:
    set_stage("NEW_FIRST")
    freeze(0.01)
    with pytest.raises(errors.SpendingFrozen):
        face.execute(SpendFactory(**mine, points=1))
    time.sleep(0.9)
    assert face.execute(SpendFactory(**mine, points=1)).operation.state == "completed"


@pytest.mark.parametrize("stage", ["NEW_FIRST", "NEW_ONLY"])
def test_what_the_legacy_has_no_form_for_waits_for_the_end(mine: dict[str, Any], stage: str) -> None:
    set_stage(stage)
    gift = TransferFactory(
        client_id=mine["client_id"],
        from_account_number=mine["account_number"],
        to_account_number=account_number(),
    )
    adjust = AdjustFactory(**mine, points=5)
    for command in (gift, adjust):
        with pytest.raises(errors.NotAvailableInStage):
            face.execute(command)
        assert refused_by(lambda command=command: ledger.execute(command)) == "legacy_can_represent"
    long_named = EarnFactory(client_id=mine["client_id"], account_number="a" * 21, points=5)
    with pytest.raises(errors.NotAvailableInStage):
        face.execute(long_named)


@pytest.mark.parametrize("stage", ["NEW_FIRST", "NEW_ONLY"])
def test_a_cancel_that_would_take_other_points_is_refused_as_the_legacy_does(
    mine: dict[str, Any], stage: str
) -> None:
    set_stage(stage)
    earned = face.execute(EarnFactory(**mine, points=50)).operation
    face.execute(SpendFactory(**mine, points=120))
    cancel = CancelFactory(client_id=mine["client_id"], cancelled_operation_id=earned.id)

    with pytest.raises(errors.EarnAlreadySpent):
        face.execute(cancel)
    assert face.balance(account_number=mine["account_number"]).available == 30


def test_a_switch_waits_for_whoever_is_deciding(mine: dict[str, Any]) -> None:
    set_stage("NEW_FIRST")
    decided, may_end = threading.Event(), threading.Event()
    spend = SpendFactory(**mine, points=10)

    def decide() -> None:
        with transaction.atomic():
            ledger.execute(spend)
            decided.set()
            may_end.wait(5)

    deciding = in_thread(decide)
    assert decided.wait(5)

    def switch() -> float:
        started = time.monotonic()
        with transaction.atomic():
            routes.lock_alone("default")
            fetch_all(
                "UPDATE cutover_route SET stage = 'LEGACY_FIRST', epoch = epoch + 1 WHERE cohort = 'default'"
            )
        return time.monotonic() - started

    switching = in_thread(switch)
    time.sleep(0.15)
    may_end.set()
    deciding()
    assert switching() > 0.1
    assert Operation.objects.get(id=spend.operation_id).stage == "NEW_FIRST"
    assert refused_by(lambda: ledger.execute(SpendFactory(**mine, points=1))) == "route_lets_ledger_decide"


def test_expiry_is_the_deciders_alone(mine: dict[str, Any]) -> None:
    from datetime import timedelta

    from ledger import clock

    set_stage("NEW_FIRST")
    soon = clock.now() + timedelta(seconds=0.4)
    face.execute(EarnFactory(**mine, points=9, expires_at=soon))
    time.sleep(0.5)
    set_stage("LEGACY_FIRST")
    before = face.expire_points().points
    set_stage("NEW_FIRST")
    after = face.expire_points().points

    assert (before, after >= 9) == (0, True)
