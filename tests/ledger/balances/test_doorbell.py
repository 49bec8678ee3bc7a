"""The doorbell: one message for many, off the request thread, and nobody waits when nobody answers."""

import base64
import json
import os
import time
from typing import Any

import pytest
from celery import current_app

from ledger import doorbell
from ledger.balances import metrics
from ledger.balances.guard import InsideTransaction
from tests.ledger.balances.conftest import BROKER, OwnRedis, run_python, wait_until
from tests.ledger.balances.steps import account_id, beside, is_marked_stale
from tests.ledger.member import Member

#: What a loaded machine adds.
SLACK_SECONDS = 1.5


def messages(own_redis: OwnRedis, queue: str) -> list[dict[str, Any]]:
    """The arguments of all messages in the queue, oldest first."""
    raw = own_redis.client(BROKER).lrange(queue, 0, -1)
    return [json.loads(base64.b64decode(json.loads(item)["body"]))[1] for item in reversed(raw)]


def headers(own_redis: OwnRedis, queue: str) -> dict[str, Any]:
    (raw,) = own_redis.client(BROKER).lrange(queue, 0, -1)
    found: dict[str, Any] = json.loads(raw)["headers"]
    return found


class TestGathers:
    def test_many_rings_into_one_message(self, own_redis: OwnRedis) -> None:
        for account in range(200):
            doorbell.ring_refresh([account, account % 7])
        wait_until(lambda: messages(own_redis, "refresh") != [])
        time.sleep(0.3)
        sent = messages(own_redis, "refresh")
        # One, unless the machine stalls for longer than ids gather while they are rung for.
        assert len(sent) <= 3
        assert {account for message in sent for account in message["account_ids"]} == set(range(200))

    def test_not_more_than_a_worker_does_at_once(self, own_redis: OwnRedis) -> None:
        doorbell.ring_refresh(range(1200))
        wait_until(
            lambda: sum(len(message["account_ids"]) for message in messages(own_redis, "refresh")) == 1200
        )
        assert sorted(len(message["account_ids"]) for message in messages(own_redis, "refresh")) == [
            200,
            500,
            500,
        ]

    def test_each_task_on_its_queue(self, own_redis: OwnRedis) -> None:
        doorbell.ring_inbox(["m-1"])
        doorbell.ring_refresh([1])
        wait_until(lambda: messages(own_redis, "refresh") != [] and messages(own_redis, "commands") != [])
        assert messages(own_redis, "refresh") == [{"account_ids": [1]}]
        assert messages(own_redis, "commands") == [{"account_numbers": ["m-1"]}]
        assert headers(own_redis, "refresh")["task"] == "ledger.tasks.refresh_balances"
        assert headers(own_redis, "commands")["task"] == "ledger.tasks.drain_inbox"

    def test_from_any_thread(self, own_redis: OwnRedis) -> None:
        beside(doorbell.ring_refresh, [7]).result(10)
        wait_until(lambda: messages(own_redis, "refresh") == [{"account_ids": [7]}])

    def test_earn_and_spend_ring_for_their_account_once(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        member.spends(30)
        wait_until(lambda: messages(own_redis, "refresh") != [])
        time.sleep(0.3)
        rung = [account for message in messages(own_redis, "refresh") for account in message["account_ids"]]
        assert set(rung) == {account_id(member.number)}

    def test_carries_ids_and_no_points(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(7654321)
        wait_until(lambda: messages(own_redis, "refresh") != [])
        (raw,) = own_redis.client(BROKER).lrange("refresh", 0, -1)
        assert b"7654321" not in raw
        assert b"7654321" not in base64.b64decode(json.loads(raw)["body"])

    def test_asks_for_nothing_at_a_later_time(self, own_redis: OwnRedis) -> None:
        """A message with a countdown longer than the visibility timeout comes back for ever."""
        doorbell.ring_refresh([1])
        wait_until(lambda: messages(own_redis, "refresh") != [])
        assert headers(own_redis, "refresh")["eta"] is None
        schedule = current_app.conf.beat_schedule
        assert not [name for name, entry in schedule.items() if {"eta", "countdown"} & set(entry["options"])]


class TestNobodyAnswers:
    @pytest.mark.parametrize("hangs", [True, False], ids=["hung", "refused"])
    def test_ringing_costs_nothing_and_what_is_dropped_is_counted(
        self, own_redis: OwnRedis, *, hangs: bool
    ) -> None:
        dropped = metrics.doorbell_dropped(task="ledger.tasks.refresh_balances")
        before = dropped._value.get()
        if hangs:
            own_redis.hang()
        else:
            own_redis.stop()
        started = time.monotonic()
        for account in range(1000):
            doorbell.ring_refresh([account])
        # Had one of them waited, it would have been for this long.
        assert time.monotonic() - started < doorbell._BROKER_TIMEOUT_SECONDS
        wait_until(lambda: dropped._value.get() > before)

    def test_rings_again_when_the_broker_is_back(self, own_redis: OwnRedis) -> None:
        dropped = metrics.doorbell_dropped(task="ledger.tasks.refresh_balances")
        before = dropped._value.get()
        own_redis.stop()
        doorbell.ring_refresh([1])
        wait_until(lambda: dropped._value.get() == before + 1)
        own_redis.start_again()
        doorbell.ring_refresh([2])
        wait_until(lambda: messages(own_redis, "refresh") == [{"account_ids": [2]}])

    def test_memory_is_bounded(self, own_redis: OwnRedis) -> None:
        bell = doorbell.Doorbell().refresh
        before = bell.dropped._value.get()
        bell.add(range(60_000))
        assert len(bell.ids) == 50_000
        assert bell.dropped._value.get() == before + 10_000

    def test_dropped_ring_leaves_the_mark_for_the_sweeper(self, member: Member, own_redis: OwnRedis) -> None:
        own_redis.stop()
        member.earns(100)
        assert is_marked_stale(member.number)


class TestProcesses:
    def test_inside_a_transaction_it_raises(self, own_redis: OwnRedis) -> None:
        from django.db import transaction

        with transaction.atomic(), pytest.raises(InsideTransaction):
            doorbell.ring_refresh([1])

    def test_forked_child_sends_by_itself_and_only_its_own(self, own_redis: OwnRedis) -> None:
        doorbell.ring_refresh([1])
        child = os.fork()
        if child == 0:
            doorbell.ring_refresh([2])
            doorbell._doorbell.end()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        wait_until(lambda: len(messages(own_redis, "refresh")) == 2)
        assert sorted(message["account_ids"] for message in messages(own_redis, "refresh")) == [[1], [2]]

    def test_process_that_ends_sends_what_it_has(self, own_redis: OwnRedis) -> None:
        done = run_python(
            "from ledger import doorbell; doorbell.ring_refresh([42])", environment=own_redis.environment()
        )
        assert done.returncode == 0, done.stderr
        assert messages(own_redis, "refresh") == [{"account_ids": [42]}]

    def test_process_ends_in_time_though_nobody_answers(self, own_redis: OwnRedis) -> None:
        own_redis.hang()
        program = (
            "import atexit, time\n"
            "from ledger import doorbell\n"
            "doorbell.ring_refresh([42])\n"
            "started = time.monotonic()\n"
            "doorbell._doorbell.end()\n"
            "print(time.monotonic() - started)\n"
        )
        done = run_python(program, environment=own_redis.environment())
        assert done.returncode == 0, done.stderr
        assert float(done.stdout) < doorbell._AT_EXIT_SECONDS + SLACK_SECONDS
