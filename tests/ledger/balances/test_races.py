"""What can overtake what, step by step, between commits, readers, refreshers and Redis.

Each protection has its negative control: the same steps without it, which end in a wrong balance.
A control that ends in the right one would mean that the test above it proves nothing.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from ledger import balances
from ledger.balances import InsideTransaction, _redis
from ledger.balances._store import key_of
from ledger.doorbell import ring_inbox, ring_refresh
from ledger.tasks import drain_inbox, refresh_balances
from tests.ledger.balances.conftest import BROKER, OwnRedis, wait_until
from tests.ledger.balances.steps import (
    account_id,
    balance_in_postgresql,
    beside,
    cached,
    is_marked_stale,
    keep,
    put_without_comparing,
)
from tests.ledger.member import Member


class TestNobodyHearsBeforeTheCommit:
    def test_refresh_that_runs_inside_the_transaction_is_put_right_after_the_commit(
        self, member: Member
    ) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            # A refresh for another reason, by a worker that cannot see what is not committed.
            beside(balances.refresh, account_ids=[account_id(member.number)]).result()
            assert cached(member.number) == ("value", 1, 100)
        assert cached(member.number) == ("tombstone", 2, None)
        assert balances.read(account_number=member.number).available == 150

    def test_control_told_before_the_commit_the_balance_stays_wrong(self, member: Member) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            # The message went out with the write, and nothing after the commit.
            transaction.get_connection().run_on_commit.clear()
            beside(balances.refresh, account_ids=[account_id(member.number)]).result()
        assert member.available == 150
        assert balances.read(account_number=member.number).available == 100

    @pytest.mark.parametrize(
        "too_early",
        [
            lambda number: balances.announce([]),
            lambda number: balances.refresh(account_ids=[account_id(number)]),
            lambda number: ring_refresh([account_id(number)]),
            lambda number: ring_inbox([number]),
            lambda number: refresh_balances.delay(account_ids=[account_id(number)]),
            lambda number: drain_inbox.delay(account_numbers=[number]),
        ],
        ids=["announce", "refresh", "ring_refresh", "ring_inbox", "publish refresh", "publish drain"],
    )
    def test_telling_inside_a_transaction_is_impossible(
        self, member: Member, own_redis: OwnRedis, too_early: Callable[[str], Any]
    ) -> None:
        member.earns(100)
        keep(balance_in_postgresql(member.number))
        broker = own_redis.client(BROKER)
        wait_until(lambda: broker.llen("refresh") == 1)
        with transaction.atomic(), pytest.raises(InsideTransaction):
            too_early(member.number)
        assert cached(member.number) == ("value", 1, 100)
        time.sleep(0.3)  # three times as long as ids gather
        assert broker.llen("refresh") == 1
        assert broker.llen("commands") == 0

    def test_reader_inside_a_transaction_sees_its_own_writes_and_shows_them_to_nobody(
        self, member: Member
    ) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            assert balances.read(account_number=member.number).available == 150
            transaction.set_rollback(True)
        assert cached(member.number) == ("tombstone", 1, None)
        assert balances.read(account_number=member.number).available == 100

    def test_control_cached_inside_a_transaction_it_shows_what_never_was(self, member: Member) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            keep(balance_in_postgresql(member.number))
            transaction.set_rollback(True)
        assert member.available == 100
        assert balances.read(account_number=member.number).available == 150


class TestWhateverGoesWrongAfterTheCommit:
    def test_client_is_told_of_its_earn(self, member: Member, settings: Any) -> None:
        """A hook that raises must not turn what is committed into an error that is tried again."""
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
        _redis.reset()
        with pytest.raises(NotImplementedError):
            balances.announce([balances.BalanceChange(account_id=1, account_number="m-1", sequence=1)])
        assert member.earns(100).state == "completed"
        assert member.spends(40).state == "completed"
        assert member.available == 60


class TestRollbackAfterTheAnnouncementWasScheduled:
    def test_rolled_back_change_is_announced_to_nobody(self, member: Member) -> None:
        member.earns(100)
        balances.refresh(account_ids=[account_id(member.number)])
        with transaction.atomic():
            member.earns(50)
            transaction.set_rollback(True)
        assert cached(member.number) == ("value", 1, 100)
        assert not is_marked_stale(member.number)

    def test_refresh_after_a_rolled_back_change_shows_the_committed_balance(self, member: Member) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            transaction.set_rollback(True)
        balances.refresh(account_ids=[account_id(member.number)])
        assert cached(member.number) == ("value", 1, 100)


class TestRefreshersOvertakeEachOther:
    def test_older_balance_never_replaces_a_newer_one(self, member: Member) -> None:
        member.earns(100)
        slow = balance_in_postgresql(member.number)
        member.earns(50)
        balances.refresh(account_ids=[account_id(member.number)])
        keep(slow)
        assert cached(member.number) == ("value", 2, 150)
        assert balances.read(account_number=member.number).available == 150

    def test_control_set_without_comparing_the_older_balance_wins(
        self, member: Member, own_redis: OwnRedis
    ) -> None:
        member.earns(100)
        slow = balance_in_postgresql(member.number)
        member.earns(50)
        balances.refresh(account_ids=[account_id(member.number)])
        put_without_comparing(own_redis.client(), slow)
        assert member.available == 150
        assert balances.read(account_number=member.number).available == 100

    def test_older_refresh_does_not_clear_the_mark_of_a_newer_change(self, member: Member) -> None:
        member.earns(100)
        with transaction.atomic():
            member.earns(50)
            beside(balances.refresh, account_ids=[account_id(member.number)]).result()
        assert is_marked_stale(member.number)
        balances.refresh(account_ids=[account_id(member.number)])
        assert not is_marked_stale(member.number)

    def test_tombstone_that_comes_late_leaves_the_newer_value(self, member: Member) -> None:
        member.earns(100)
        change = balances.BalanceChange(
            account_id=account_id(member.number), account_number=member.number, sequence=1
        )
        member.earns(50)
        balances.refresh(account_ids=[change.account_id])
        balances.announce([change])
        assert cached(member.number) == ("value", 2, 150)


class TestWriteRacesASlowFill:
    def test_fill_that_read_before_the_write_is_refused_after_it(self, member: Member) -> None:
        member.earns(100)
        slow = balance_in_postgresql(member.number)
        member.earns(50)
        keep(slow)
        assert cached(member.number) == ("tombstone", 2, None)
        assert balances.read(account_number=member.number).available == 150

    def test_control_deleted_in_place_of_a_tombstone_the_fill_wins(
        self, member: Member, own_redis: OwnRedis
    ) -> None:
        member.earns(100)
        slow = balance_in_postgresql(member.number)
        member.earns(50)
        own_redis.client().delete(key_of(member.number))
        keep(slow)
        assert member.available == 150
        assert balances.read(account_number=member.number).available == 100

    def test_never_seen_account_that_was_cached_as_empty_shows_its_first_points(self, member: Member) -> None:
        assert balances.read(account_number=member.number).available == 0
        assert cached(member.number) == ("value", 0, 0)
        slow = balance_in_postgresql(member.number)
        member.earns(100)
        keep(slow)
        assert balances.read(account_number=member.number).available == 100

    def test_whoever_was_told_of_a_write_reads_it_at_once(self, member: Member) -> None:
        for turn in range(1, 51):
            member.earns(10)
            assert balances.read(account_number=member.number).available == 10 * turn
