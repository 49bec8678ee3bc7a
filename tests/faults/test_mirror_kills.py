"""A process that mirrors is killed, or stopped for too long, at every point: both sides end up equal, and
each operation was done once on each.

`--kills N` does it N times as often (docs/operating/testing.md).
"""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.cutover.conftest import (  # noqa: F401
    at_own_database,
    legacy_only,
    own_database,
    set_stage,
)
from tests.legacy_bridge.conftest import legacy_database  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Callable

TO_LEGACY = (
    "mirror.to_legacy.noted",
    "mirror.to_legacy.called",
    "mirror.to_legacy.told",
    "mirror.to_legacy.kept",
)
#: Points that are come to for each message.
OF_EACH = ("mirror.to_legacy.called", "mirror.to_legacy.told")
TO_LEDGER = ("mirror.to_ledger.read", "mirror.to_ledger.posted", "mirror.to_ledger.committed")
DUAL_WRITE = ("legacy.intent_open", "legacy.decided", "legacy.outcome_kept")
ACCOUNTS = 4


@pytest.fixture
def where(legacy_only: Any, own_database: dict[str, str]) -> dict[str, str]:  # noqa: F811
    """The environment of a process that works on the same ledger and legacy as this one."""
    from django.db import connections

    from tests.faults import mirrors

    return mirrors.environment(own_database, connections.databases["legacy"])


@pytest.fixture
def decided(legacy_only: Any) -> Callable[[], list[str]]:  # noqa: F811
    """Has something decided on some accounts, by whoever decides: earns, a spend, cancels."""
    from cutover import face
    from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

    def decide() -> list[str]:
        client = ClientFactory().id
        numbers = [account_number() for _ in range(ACCOUNTS)]
        for number in numbers:
            mine = {"client_id": client, "account_number": number}
            earn = face.execute(EarnFactory(**mine, points=100)).operation
            spend = face.execute(SpendFactory(**mine, points=60)).operation
            face.execute(EarnFactory(**mine, points=7))
            face.execute(CancelFactory(client_id=client, cancelled_operation_id=spend.id, points=25))
            face.execute(CancelFactory(client_id=client, cancelled_operation_id=earn.id, points=10))
        return numbers

    return decide


def assert_done_once(numbers: list[str]) -> None:
    from cutover.models import MirrorMessage
    from tests.cutover import sides
    from tests.cutover.legacy_calls import rows_of

    for number in numbers:
        rows = [(kind, points) for kind, points, _ in rows_of(number)]
        assert rows == [("SV", 100), ("US", -60), ("SV", 7), ("UC", 25), ("SC", -10)]
        assert sum(sides.of_ledger(number).values()) == 62
        sides.assert_equal(number)
        states = MirrorMessage.objects.filter(account_number=number).values_list("state", flat=True)
        assert list(states) == ["applied"] * 5


def turns(request: pytest.FixtureRequest, point: str, *, most: int) -> list[int]:
    """Which of the times that the point is come to are the last ones, at random; another with each kill."""
    rng = random.Random(point)
    return [rng.randint(1, most) for _ in range(request.config.getoption("--kills"))]


@pytest.mark.parametrize("point", TO_LEGACY)
def test_a_worker_killed_while_it_tells_the_legacy(
    where: dict[str, str],
    decided: Callable[[], list[str]],
    point: str,
    request: pytest.FixtureRequest,
) -> None:
    from tests.faults import mirrors

    set_stage("NEW_FIRST")
    for turn in turns(request, point, most=5 * ACCOUNTS if point in OF_EACH else 1):
        numbers = decided()

        assert mirrors.run(mirrors.WORK, where, crash_at=f"{point}:{turn}") == -signal.SIGKILL

        mirrors.work_until_done(numbers)
        assert_done_once(numbers)


def test_a_worker_killed_again_when_it_has_found_out_what_the_first_did(
    where: dict[str, str], decided: Callable[[], list[str]]
) -> None:
    from tests.faults import mirrors

    set_stage("NEW_FIRST")
    numbers = decided()
    assert mirrors.run(mirrors.WORK, where, crash_at="mirror.to_legacy.told:3") == -signal.SIGKILL
    mirrors.end_leases(numbers)

    assert mirrors.run(mirrors.WORK, where, crash_at="mirror.to_legacy.settled:2") == -signal.SIGKILL

    mirrors.work_until_done(numbers)
    assert_done_once(numbers)


@pytest.mark.parametrize("point", TO_LEDGER)
def test_a_worker_killed_while_it_tells_the_ledger(
    where: dict[str, str],
    decided: Callable[[], list[str]],
    point: str,
    request: pytest.FixtureRequest,
) -> None:
    from tests.faults import mirrors

    set_stage("LEGACY_FIRST")
    for turn in turns(request, point, most=1):
        numbers = decided()

        assert mirrors.run(mirrors.WORK, where, crash_at=f"{point}:{turn}") == -signal.SIGKILL

        mirrors.work_until_done(numbers)
        assert_done_once(numbers)


@pytest.mark.parametrize("point", DUAL_WRITE)
def test_a_process_killed_while_the_legacy_decides_leaves_both_sides_equal(
    where: dict[str, str], point: str, request: pytest.FixtureRequest
) -> None:
    from cutover import settling
    from cutover.models import MirrorMessage
    from tests.cutover import sides
    from tests.cutover.legacy_calls import rows_of
    from tests.factories import ClientFactory, account_number
    from tests.faults import mirrors

    set_stage("LEGACY_FIRST")
    for _ in turns(request, point, most=1):
        number, client = account_number(), ClientFactory().id
        earn = (
            "from cutover import face; from ledger.commands import Earn; face.execute(Earn("
            f"client_id={client}, idempotency_key='{number}', account_number='{number}', points=40, "
            "reason='ORDER_REWARD'))"
        )

        assert mirrors.run(earn, where, crash_at=f"{point}:1") == -signal.SIGKILL

        mirrors.end_leases([number])
        settling.settle_due()
        mirrors.work_until_done([number])
        assert mirrors.run(earn, where) == 0
        assert [points for _, points, _ in rows_of(number)] == [40]
        assert sum(sides.of_ledger(number).values()) == 40
        sides.assert_equal(number)
        assert MirrorMessage.objects.filter(account_number=number).count() == 1


@pytest.mark.parametrize("point", TO_LEGACY[:3])
def test_a_worker_stopped_for_longer_than_its_lease_tells_the_legacy_nothing_twice(
    where: dict[str, str], decided: Callable[[], list[str]], point: str
) -> None:
    from tests.faults import mirrors

    set_stage("NEW_FIRST")
    numbers = decided()
    process = mirrors.begin(mirrors.stopping_at(point) + mirrors.WORK, where)
    mirrors.wait_until_stopped(process)

    mirrors.work_until_done(numbers)
    assert_done_once(numbers)

    assert mirrors.go_on(process) == 0
    assert_done_once(numbers)


def test_a_worker_stopped_for_longer_than_its_lease_posts_nothing_twice(
    where: dict[str, str], decided: Callable[[], list[str]]
) -> None:
    from tests.faults import mirrors

    set_stage("LEGACY_FIRST")
    numbers = decided()
    process = mirrors.begin(mirrors.stopping_at("mirror.to_ledger.read") + mirrors.WORK, where)
    mirrors.wait_until_stopped(process)

    mirrors.work_until_done(numbers)
    assert_done_once(numbers)

    assert mirrors.go_on(process) == 0
    assert_done_once(numbers)


# --- delivered more than once, and by many at once --------------------------------------------------------
@pytest.mark.parametrize("stage", ["LEGACY_FIRST", "NEW_FIRST"])
def test_messages_that_many_deliver_at_once_and_again_are_applied_once(
    where: dict[str, str], decided: Callable[[], list[str]], stage: str
) -> None:
    from cutover.mirroring import to_ledger, to_legacy
    from legacy_bridge.errors import LegacyError
    from tests.cutover.legacy_calls import in_thread
    from tests.faults import mirrors

    set_stage(stage)
    numbers = decided() + decided()
    rng = random.Random(stage)

    def deliver(order: list[str]) -> None:
        for number in order:
            for _ in range(rng.randint(1, 5)):
                mirrors.end_leases([number])
                try:
                    to_ledger.tell_each([number]) if stage == "LEGACY_FIRST" else to_legacy.tell([number])
                except LegacyError:
                    # Two ended each other's session: what was under way is asked for by the next.
                    continue

    waits = [
        in_thread(lambda order=order: deliver(order))  # type: ignore[misc]
        for order in (rng.sample(numbers, len(numbers)) for _ in range(4))
    ]
    for wait in waits:
        wait()

    mirrors.work_until_done(numbers)
    assert_done_once(numbers)
    worker_did = [to_ledger.tell_each([number]).posted for number in numbers]
    assert worker_did == [0] * len(numbers)
