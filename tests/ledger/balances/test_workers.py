"""Refreshes by real Celery workers, which are killed, and messages, which are lost."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from celery import current_app

from ledger import balances
from ledger.balances import _refreshing
from ledger.models import StaleBalance
from ledger.tasks import refresh_balances, sweep_stale_balances
from pointsystem.embedded.processes import Child
from tests.ledger.balances.conftest import BROKER, OwnRedis, run_python, wait_until
from tests.ledger.balances.steps import account_id, cached, is_marked_stale
from tests.ledger.member import Member


def sweep_by_worker() -> None:
    """What beat does every five seconds."""
    with current_app.connection_for_write() as connection:
        sweep_stale_balances.apply_async(connection=connection)


def ring_for(member: Member, *, times: int = 1) -> None:
    with current_app.connection_for_write() as connection:
        for _ in range(times):
            refresh_balances.apply_async(
                kwargs={"account_ids": [account_id(member.number)]}, connection=connection
            )


def make_old(member: Member) -> None:
    """Let the mark be older than the sweeper waits."""
    time.sleep(_refreshing.STALE_AFTER_SECONDS)
    assert is_marked_stale(member.number)


def broker_is_empty(own_redis: OwnRedis) -> bool:
    broker = own_redis.client(BROKER)
    return bool(broker.llen("refresh") == 0 and broker.hlen("unacked") == 0)


class TestAWorker:
    def test_refreshes_after_each_change(self, member: Member, own_redis: OwnRedis) -> None:
        own_redis.start_worker()
        for turn in range(1, 4):
            member.earns(100)
            wait_until(lambda: cached(member.number) == ("value", turn, 100 * turn))  # noqa: B023
        member.spends(50)
        wait_until(lambda: cached(member.number) == ("value", 4, 250))
        wait_until(lambda: not is_marked_stale(member.number))

    def test_may_be_told_many_times(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        ring_for(member, times=5)
        own_redis.start_worker()
        wait_until(lambda: broker_is_empty(own_redis))
        assert cached(member.number) == ("value", 1, 100)

    def test_takes_arguments_of_a_later_release(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        refresh_balances(account_ids=[account_id(member.number)], reason_from_the_future="x")
        assert cached(member.number) == ("value", 1, 100)

    def test_without_redis_leaves_the_mark(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.stop()
        assert refresh_balances(account_ids=[account_id(member.number)]) == 0
        assert sweep_stale_balances() == 0
        assert is_marked_stale(member.number)


class TestAWorkerThatIsKilled:
    @pytest.mark.parametrize(
        ("crash_point", "in_redis", "stale"),
        [
            ("refresh.before_set", ("tombstone", 1, None), True),
            ("refresh.before_clear", ("value", 1, 100), True),
            ("refresh.after_clear", ("value", 1, 100), False),
        ],
    )
    def test_loses_a_message_and_no_balance(
        self,
        member: Member,
        own_redis: OwnRedis,
        crash_point: str,
        in_redis: tuple[str, int | None, int | None],
        *,
        stale: bool,
    ) -> None:
        worker = own_redis.start_worker(crash_point=f"{crash_point}:1")
        member.earns(100)
        wait_until(lambda: "SIGKILL" in worker.log.read_text())
        wait_until(lambda: broker_is_empty(own_redis))
        assert cached(member.number) == in_redis
        assert is_marked_stale(member.number) is stale
        assert balances.read(account_number=member.number).available == 100
        balances.sweep_stale_balances(stale_after_seconds=0)
        assert cached(member.number) == ("value", 1, 100)
        assert not is_marked_stale(member.number)

    def test_whole_group_killed_in_the_middle(self, member: Member, own_redis: OwnRedis) -> None:
        worker = own_redis.start_worker()
        member.earns(100)
        os.killpg(worker.pid, signal.SIGKILL)
        wait_until(worker.has_ended)
        own_redis.client().flushdb()
        member.earns(50)
        balances.sweep_stale_balances(stale_after_seconds=0)
        assert not is_marked_stale(member.number)
        assert cached(member.number) == ("value", 2, 150)


class TestAQueueThatIsLost:
    @pytest.mark.slow
    def test_sweeper_does_what_nobody_asked_for(self, own_redis: OwnRedis) -> None:
        members = [Member()]
        members += [Member(client_id=members[0].client_id) for _ in range(19)]
        for member in members:
            member.earns(100)
        broker = own_redis.client(BROKER)
        wait_until(lambda: broker.llen("refresh") > 0)
        time.sleep(0.3)
        broker.flushdb()
        own_redis.start_worker()
        make_old(members[-1])
        assert {cached(member.number) for member in members} == {("tombstone", 1, None)}
        sweep_by_worker()
        wait_until(lambda: {cached(member.number) for member in members} == {("value", 1, 100)})
        wait_until(lambda: not any(is_marked_stale(member.number) for member in members))

    def test_control_without_the_mark_nobody_does(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        broker = own_redis.client(BROKER)
        wait_until(lambda: broker.llen("refresh") > 0)
        broker.flushdb()
        StaleBalance.objects.filter(account__account_number=member.number).delete()
        balances.sweep_stale_balances(stale_after_seconds=0)
        assert cached(member.number) == ("tombstone", 1, None)


class TestTheSweeper:
    def test_leaves_alone_what_a_worker_is_about_to_refresh(self, member: Member) -> None:
        member.earns(100)
        balances.sweep_stale_balances()
        assert is_marked_stale(member.number)

    def test_goes_through_any_number_in_chunks(self, own_redis: OwnRedis, monkeypatch: Any) -> None:
        monkeypatch.setattr(_refreshing, "CHUNK_ACCOUNTS", 3)
        members = [Member()]
        members += [Member(client_id=members[0].client_id) for _ in range(9)]
        for member in members:
            member.earns(100)
        assert balances.sweep_stale_balances(stale_after_seconds=0) >= 10
        assert not any(is_marked_stale(member.number) for member in members)
        assert {cached(member.number) for member in members} == {("value", 1, 100)}

    def test_ends_in_time(self, own_redis: OwnRedis) -> None:
        Member().earns(100)
        assert balances.sweep_stale_balances(stale_after_seconds=0, deadline_seconds=0) == 0

    @pytest.mark.slow
    def test_process_killed_between_commit_and_note_is_made_good_for_in_ten_seconds(
        self, committed_db: None, celery_workers: list[Child]
    ) -> None:
        """On the servers of the run, with its own workers and beat: nobody helps."""
        member = Member()
        member.earns(100)
        wait_until(lambda: cached(member.number) == ("value", 1, 100))
        program = (
            "from ledger import operations\n"
            "from ledger.commands import Earn\n"
            f"operations.execute(Earn(client_id={member.client_id}, idempotency_key='killed-{member.number}',"
            f" account_number='{member.number}', points=50, reason='ORDER_REWARD'))\n"
        )
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
            "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
            "POINTS_CRASH_POINT": "announce.before_tombstone:1",
        }
        done = run_python(program, environment=environment)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert member.available == 150
        # Its client was told nothing; others may read the old balance for a moment.
        assert cached(member.number) == ("value", 1, 100)
        assert wait_until(lambda: cached(member.number) == ("value", 2, 150)) < 10
        wait_until(lambda: not is_marked_stale(member.number))
