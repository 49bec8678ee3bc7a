"""Writers, readers, refreshers and a sweeper at once; then everything is still.

Redis is not emptied meanwhile: with the tombstones gone, a fill that read before a write may come after it,
and stand until the stale mark is swept (seconds). A Redis that does not answer makes nobody read wrong: from
its first failure on this process reads from PostgreSQL, until what changed meanwhile is noted.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ledger import balances
from ledger.balances import RedisUnavailable, _store, metrics
from tests.ledger.balances.conftest import OwnRedis, wait_until
from tests.ledger.balances.steps import account_id, beside, breaker_is_open, cached, count
from tests.ledger.member import Member

WRITERS, ACCOUNTS_EACH, WRITES_EACH = 3, 5, 100
#: So many times a busy machine may be the reason that the control showed nothing.
CONTROLS = 5


def write_and_read(members: list[Member], seed: int, writes: int) -> list[tuple[int, int]]:
    """Each member has but this one writer, so what it reads is known. Returns what was read wrong."""
    dice = random.Random(seed)
    expected = dict.fromkeys(range(len(members)), 0)
    wrong = []
    for _ in range(writes):
        position = dice.randrange(len(members))
        member = members[position]
        if expected[position] > 50 and dice.random() < 0.4:
            member.spends(50)
            expected[position] -= 50
        else:
            points = dice.randint(1, 1000)
            member.earns(points)
            expected[position] += points
        read = balances.read(account_number=member.number).available
        if read != expected[position]:
            wrong.append((read, expected[position]))
    return wrong


def disturb(members: list[Member], own_redis: OwnRedis, ended: threading.Event, seed: int) -> None:
    dice = random.Random(seed)
    ids = [account_id(member.number) for member in members]
    actions: list[Callable[[], Any]] = [
        lambda: balances.refresh(account_ids=dice.sample(ids, 5)),
        lambda: balances.read(account_number=dice.choice(members).number),
        lambda: balances.sweep_stale_balances(stale_after_seconds=0),
        lambda: own_redis.client().script_flush(),
    ]
    while not ended.is_set():
        # A refresh says that Redis did not answer; its mark stays, and it is for the sweeper.
        with suppress(RedisUnavailable):
            dice.choices(actions, weights=[10, 10, 3, 1])[0]()


def hang_now_and_then(own_redis: OwnRedis, ended: threading.Event) -> None:
    """Longer than a request waits for Redis, and long enough in between that it is used again."""
    while not ended.wait(1.0):
        own_redis.hang()
        time.sleep(0.3)
        own_redis.go_on()


def run(
    own_redis: OwnRedis, seed: int, *, writes: int = WRITES_EACH, hangs: bool = False
) -> tuple[list[Member], list[tuple[int, int]]]:
    first = Member()
    groups = [[Member(client_id=first.client_id) for _ in range(ACCOUNTS_EACH)] for _ in range(WRITERS)]
    members = [member for group in groups for member in group]
    for member in members:
        member.earns(1)
        member.spends(1)
    ended = threading.Event()
    disturbers = [beside(disturb, members, own_redis, ended, seed + turn) for turn in range(2)]
    if hangs:
        disturbers.append(beside(hang_now_and_then, own_redis, ended))
    writers = [beside(write_and_read, group, seed + 10 + turn, writes) for turn, group in enumerate(groups)]
    try:
        wrong = [one for writer in writers for one in writer.result(120)]
    finally:
        ended.set()
    for disturber in disturbers:
        disturber.result(30)
    wait_until(lambda: not breaker_is_open())
    return members, wrong


def assert_all_is_right_in_the_end(members: list[Member]) -> None:
    balances.refresh_stale()
    for member in members:
        state, sequence, available = cached(member.number)
        assert state == "absent" or (sequence, available) == (len(member.history), member.available)


@pytest.mark.parametrize("seed", [20260301, 20260302])
def test_every_writer_reads_its_own_writes_and_all_is_right_in_the_end(
    own_redis: OwnRedis, seed: int
) -> None:
    hits = count(metrics.HITS)
    members, wrong = run(own_redis, seed)
    assert wrong == []
    assert count(metrics.HITS) > hits
    assert_all_is_right_in_the_end(members)


class TestRedisHangsMeanwhile:
    with_real_timeout = True

    @pytest.mark.slow
    def test_whoever_was_told_of_a_write_reads_it_all_the_same(self, own_redis: OwnRedis) -> None:
        hits, failures = count(metrics.HITS), count(metrics.REDIS_FAILURES)
        members, wrong = run(own_redis, 20260303, writes=600, hangs=True)
        assert wrong == []
        assert count(metrics.HITS) > hits
        assert count(metrics.REDIS_FAILURES) > failures
        assert_all_is_right_in_the_end(members)


def test_control_without_tombstones_writers_read_old_balances(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "note_changes", lambda changes: True)
    assert any(run(own_redis, 20260301 + turn)[1] for turn in range(CONTROLS))
