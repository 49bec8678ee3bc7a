"""A freeze: spends are refused, earns and cancels are accepted; whoever does them afterwards is killed again
and again, and each is done once, in the order in which it was accepted, on both sides.

`--kills N` queues N times as many (500 by default) and kills N times as often: 20 queue 10,000.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.cutover.conftest import (  # noqa: F401
    at_own_database,
    legacy_only,
    own_database,
    set_stage,
)
from tests.faults.test_mirror_kills import where  # noqa: F401
from tests.legacy_bridge.conftest import legacy_database  # noqa: F401

ACCOUNTS = 20
QUEUED = 500
KILLS = 3
_FREEZE = """
UPDATE cutover_route SET epoch = epoch + 1, freeze_until = clock_timestamp() + %s * interval '1 second'
WHERE cohort = 'default'
"""
_THAW = "UPDATE cutover_route SET epoch = epoch + 1, freeze_until = NULL WHERE cohort = 'default'"


def freeze(seconds: float) -> None:
    from cutover import routes
    from ledger.database import fetch_all

    fetch_all(_FREEZE, [seconds])
    routes.forget_hints()


def thaw() -> None:
    from cutover import routes
    from ledger.database import fetch_all

    fetch_all(_THAW)
    routes.forget_hints()


def waiting(numbers: list[str]) -> int:
    from ledger.models import InboxItem

    return InboxItem.objects.filter(account_number__in=numbers).count()


def queue(rng: random.Random, client: int, numbers: list[str], count: int) -> dict[str, list[Any]]:
    """Have so many earns and cancels accepted; by account, the operations in order."""
    from cutover import face
    from tests.factories import CancelFactory, EarnFactory

    accepted: dict[str, list[Any]] = {number: [] for number in numbers}
    spends = dict(zip(numbers, _spent(client, numbers), strict=True))
    freeze(600)
    for number in rng.choices(numbers, k=count):
        if rng.random() < 0.2:
            asked = CancelFactory(client_id=client, cancelled_operation_id=spends[number], points=1)
        else:
            asked = EarnFactory(client_id=client, account_number=number, points=rng.randint(1, 50))
        outcome = face.execute(asked)
        assert outcome.operation.state == "accepted"
        accepted[number].append(outcome.operation.id)
    return accepted


def _spent(client: int, numbers: list[str]) -> list[Any]:
    """A spend on each of the accounts, big enough to be cancelled in many parts."""
    from cutover import face
    from tests.factories import EarnFactory, SpendFactory

    for number in numbers:
        face.execute(EarnFactory(client_id=client, account_number=number, points=20_000))
    return [
        face.execute(SpendFactory(client_id=client, account_number=number, points=20_000)).operation.id
        for number in numbers
    ]


@pytest.mark.parametrize("stage", ["LEGACY_FIRST", "NEW_FIRST"])
def test_what_was_accepted_in_a_freeze_is_done_once_and_in_order_though_the_drain_is_killed(
    where: dict[str, str],  # noqa: F811
    stage: str,
    request: pytest.FixtureRequest,
) -> None:
    from cutover import face, settling
    from tests.cutover import sides
    from tests.cutover.legacy_calls import rows_of
    from tests.factories import ClientFactory, account_number
    from tests.faults import mirrors

    times = request.config.getoption("--kills")
    rng = random.Random(stage)
    set_stage(stage)
    client, numbers = ClientFactory().id, [account_number() for _ in range(ACCOUNTS)]
    accepted = queue(rng, client, numbers, QUEUED * times)
    assert face.drain_inbox(account_numbers=numbers) == 0
    thaw()

    for kill in range(KILLS * times, 0, -1):
        process = mirrors.begin(f"{mirrors.DRAIN}; {mirrors.WORK}", where)
        # Somewhere in the middle, each time further on.
        goal = waiting(numbers) * (kill - rng.random()) / kill
        while process.poll() is None and waiting(numbers) > goal:
            time.sleep(0.001)
        process.kill()
        process.wait()
        mirrors.end_leases(numbers)
        settling.settle_due()
    give_up_at = time.monotonic() + 120
    while waiting(numbers):
        assert time.monotonic() < give_up_at
        mirrors.end_leases(numbers)
        settling.settle_due()
        face.drain_inbox(account_numbers=numbers)
    mirrors.work_until_done(numbers)

    for number, operations in accepted.items():
        done = [request_id for _, _, request_id in rows_of(number)]
        assert done[2:] == [str(operation) for operation in operations]
        sides.assert_equal(number)


def test_a_spend_in_a_freeze_is_refused_and_changes_nothing(where: dict[str, str]) -> None:  # noqa: F811
    from cutover import face
    from ledger.errors import SpendingFrozen
    from tests.cutover.legacy_calls import rows_of
    from tests.factories import ClientFactory, EarnFactory, SpendFactory, account_number

    set_stage("NEW_FIRST")
    mine = {"client_id": ClientFactory().id, "account_number": account_number()}
    face.execute(EarnFactory(**mine, points=10))
    freeze(600)
    try:
        with pytest.raises(SpendingFrozen):
            face.execute(SpendFactory(**mine, points=5))
    finally:
        thaw()

    assert face.balance(account_number=mine["account_number"]).available == 10
    assert rows_of(mine["account_number"]) == []


@pytest.mark.parametrize("stage", ["LEGACY_FIRST", "NEW_FIRST"])
def test_a_freeze_that_nobody_ends_ends_by_itself(where: dict[str, str], stage: str) -> None:  # noqa: F811
    from cutover import face, routes
    from tests.factories import ClientFactory, EarnFactory, SpendFactory, account_number

    set_stage(stage)
    mine = {"client_id": ClientFactory().id, "account_number": account_number()}
    face.execute(EarnFactory(**mine, points=10))
    freeze(1.0)
    accepted = face.execute(EarnFactory(**mine, points=5)).operation
    time.sleep(1.2)
    routes.forget_hints()

    spend = face.execute(SpendFactory(**mine, points=12)).operation

    assert accepted.state == "accepted"
    assert spend.state == "completed"
    assert face.balance(account_number=mine["account_number"]).available == 3
