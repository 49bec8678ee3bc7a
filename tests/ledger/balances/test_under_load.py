"""Writers, readers, refreshers and a sweeper at once; then everything is still.

Redis is not emptied meanwhile: with the tombstones gone, a fill that read before a write may come after it,
and stand until the stale mark is swept (seconds).
"""

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ledger import balances
from ledger.balances import _store
from tests.ledger.balances.conftest import OwnRedis
from tests.ledger.balances.steps import account_id, beside, cached
from tests.ledger.member import Member

WRITERS, ACCOUNTS_EACH, WRITES_EACH = 3, 5, 100


def write_and_read(members: list[Member], seed: int) -> list[tuple[int, int]]:
    """Each member has but this one writer, so what it reads is known. Returns what was read wrong."""
    dice = random.Random(seed)
    expected = dict.fromkeys(range(len(members)), 0)
    wrong = []
    for _ in range(WRITES_EACH):
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
        dice.choices(actions, weights=[10, 10, 3, 1])[0]()


def run(own_redis: OwnRedis, seed: int) -> tuple[list[Member], list[tuple[int, int]]]:
    first = Member()
    groups = [[Member(client_id=first.client_id) for _ in range(ACCOUNTS_EACH)] for _ in range(WRITERS)]
    members = [member for group in groups for member in group]
    for member in members:
        member.earns(1)
        member.spends(1)
    ended = threading.Event()
    disturbers = [beside(disturb, members, own_redis, ended, seed + turn) for turn in range(2)]
    writers = [beside(write_and_read, group, seed + 10 + turn) for turn, group in enumerate(groups)]
    try:
        wrong = [one for writer in writers for one in writer.result(120)]
    finally:
        ended.set()
    for disturber in disturbers:
        disturber.result(30)
    return members, wrong


@pytest.mark.parametrize("seed", [20260301, 20260302])
def test_every_writer_reads_its_own_writes_and_all_is_right_in_the_end(
    own_redis: OwnRedis, seed: int
) -> None:
    members, wrong = run(own_redis, seed)
    assert wrong == []
    balances.refresh_stale()
    for member in members:
        state, sequence, available = cached(member.number)
        assert state == "absent" or (sequence, available) == (len(member.history), member.available)


def test_control_without_tombstones_writers_read_old_balances(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "note_changes", lambda changes: True)
    _, wrong = run(own_redis, 20260301)
    assert wrong != []
