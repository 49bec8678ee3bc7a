"""What `read` answers, and where it has it from."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from ledger import balances, clock, queries
from ledger.balances import _format, _store
from ledger.balances._store import key_of
from ledger.records import BalanceRecord, PointsAt, PointsBefore
from tests.ledger.balances.conftest import OwnRedis
from tests.ledger.balances.steps import account_id, balance_in_postgresql, cached, keep
from tests.ledger.member import NOON, Member

SetClock = Callable[[datetime], None]


class TestAHit:
    def test_comes_from_redis(self, member: Member) -> None:
        member.earns(100)
        truth = balance_in_postgresql(member.number)
        # A value that PostgreSQL does not have shows where the answer is from.
        keep(replace(truth, record=replace(truth.record, available=777)))
        assert balances.read(account_number=member.number).available == 777

    def test_says_the_same_as_postgresql(self, member: Member) -> None:
        soon = datetime.now(UTC) + timedelta(days=10)
        member.earns(70, expires_at=soon)
        member.earns(30)
        truth = queries.balance(account_number=member.number)
        balances.refresh(account_ids=[account_id(member.number)])
        read = balances.read(account_number=member.number)
        assert replace(read, as_of=truth.as_of) == truth
        assert read.available == 100
        assert read.expiring_soon.points == 70
        assert read.next_expiry == PointsAt(points=70, at=soon)

    def test_stands_for_the_instant_of_the_read(self, member: Member) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        before = clock.now()
        assert before <= balances.read(account_number=member.number).as_of <= clock.now()

    def test_as_json_is_the_record_as_json(self, member: Member) -> None:
        member.earns(100)
        missed = msgspec.json.decode(balances.read_json(account_number=member.number))
        assert cached(member.number)[0] == "value"
        hit = balances.read_json(account_number=member.number)
        record = balances.read(account_number=member.number)
        as_of = datetime.fromisoformat(msgspec.json.decode(hit)["as_of"])
        assert hit == msgspec.json.encode(replace(record, as_of=as_of))
        assert list(msgspec.json.decode(hit)) == list(missed) == list(BalanceRecord.__dataclass_fields__)


class TestAMiss:
    def test_is_answered_by_postgresql_and_kept(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.client().flushdb()
        assert balances.read(account_number=member.number).available == 100
        assert cached(member.number) == ("value", 1, 100)

    def test_never_seen_account_has_nothing(self, own_redis: OwnRedis) -> None:
        record = balances.read(account_number="never-seen")
        assert record.available == 0
        assert record.expiring_soon.points == 0
        assert record.next_expiry is None


class TestHowLongAValueLives:
    def test_never_longer_than_a_minute(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        assert 55_000 < own_redis.client().pttl(key_of(member.number)) <= 60_000

    def test_never_longer_than_its_points(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100, expires_at=datetime.now(UTC) + timedelta(seconds=20))
        balances.read(account_number=member.number)
        assert 15_000 < own_redis.client().pttl(key_of(member.number)) <= 20_000

    def test_lapsed_points_are_not_shown_though_redis_still_has_them(
        self, simulated_clock: SetClock, member: Member, own_redis: OwnRedis
    ) -> None:
        simulated_clock(NOON)
        member.earns(100, expires_at=NOON + timedelta(seconds=30))
        member.earns(5)
        balances.refresh(account_ids=[account_id(member.number)])
        simulated_clock(NOON + timedelta(seconds=29, milliseconds=999))
        assert balances.read(account_number=member.number).available == 105
        simulated_clock(NOON + timedelta(seconds=30))
        assert own_redis.client().pttl(key_of(member.number)) > 10_000
        assert balances.read(account_number=member.number).available == 5
        assert cached(member.number) == ("value", 2, 5)

    def test_days_of_the_window_end_at_midnight_of_the_programme(
        self, simulated_clock: SetClock, member: Member
    ) -> None:
        midnight = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)  # in Seoul
        simulated_clock(midnight - timedelta(seconds=1))
        member.earns(100, expires_at=midnight + timedelta(days=30, hours=1))
        first = balances.read(account_number=member.number).expiring_soon
        assert first == PointsBefore(points=0, before=midnight + timedelta(days=30))
        simulated_clock(midnight)
        second = balances.read(account_number=member.number).expiring_soon
        assert second == PointsBefore(points=100, before=midnight + timedelta(days=31))

    @pytest.mark.parametrize(
        ("next_expiry_seconds", "day_ends_seconds", "expected_milliseconds"),
        [(None, 1000, 60_000), (20, 1000, 20_000), (20, 10, 10_000), (0.0001, 10, 1)],
    )
    def test_the_soonest_end_counts(
        self, next_expiry_seconds: float | None, day_ends_seconds: float, expected_milliseconds: int
    ) -> None:
        midnight = datetime(2026, 3, 1, 15, 0, tzinfo=UTC)  # in Seoul
        now = midnight - timedelta(seconds=day_ends_seconds)
        next_expiry = None
        if next_expiry_seconds is not None:
            next_expiry = PointsAt(points=1, at=now + timedelta(seconds=next_expiry_seconds))
        record = BalanceRecord(
            account_number="m",
            available=1,
            expiring_soon=PointsBefore(points=0, before=midnight + timedelta(days=30)),
            next_expiry=next_expiry,
            as_of=now,
        )
        assert _format.encode(record, sequence=1)[1] == expected_milliseconds


class TestWhatIsNoBalance:
    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"100",
            b"{}",
            b'{"available": 100}',
            b"\xff\xfe\x00",
            b"1 1 9999999999999999 00000000 {}",
            b"2 1 9999999999999999 00000000 {}",
            b"1 -1 -",
            b"1 1",
            b"1 99999999999999999999999999 9999999999999999 zz {}",
            b"x" * 100_000,
        ],
    )
    def test_is_never_shown_and_gives_way(self, member: Member, own_redis: OwnRedis, garbage: bytes) -> None:
        member.earns(100)
        own_redis.client().set(key_of(member.number), garbage)
        assert cached(member.number)[0] == "corrupt"
        assert balances.read(account_number=member.number).available == 100
        assert cached(member.number) == ("value", 1, 100)

    @pytest.mark.parametrize("kind", ["list", "hash"])
    def test_of_another_type_gives_way(self, member: Member, own_redis: OwnRedis, kind: str) -> None:
        member.earns(100)
        client, key = own_redis.client(), key_of(member.number)
        client.delete(key)
        client.rpush(key, "1") if kind == "list" else client.hset(key, "available", "1")
        assert balances.read(account_number=member.number).available == 100
        assert cached(member.number) == ("value", 1, 100)

    def test_gives_way_to_a_tombstone_and_to_a_refresh_too(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        own_redis.client().set(key_of(member.number), b"rubbish")
        member.earns(50)
        assert cached(member.number) == ("tombstone", 2, None)
        own_redis.client().set(key_of(member.number), b"rubbish")
        balances.refresh(account_ids=[account_id(member.number)])
        assert cached(member.number) == ("value", 2, 150)

    def test_value_of_another_account_is_corrupt(self, member: Member, own_redis: OwnRedis) -> None:
        rich, client = Member(client_id=member.client_id), own_redis.client()
        rich.earns(1_000_000)
        balances.read(account_number=rich.number)
        member.earns(1)
        client.copy(key_of(rich.number), key_of(member.number), replace=True)
        assert balances.read(account_number=member.number).available == 1

    def test_one_changed_digit_is_corrupt(self, member: Member, own_redis: OwnRedis) -> None:
        member.earns(100)
        balances.read(account_number=member.number)
        client, key = own_redis.client(), key_of(member.number)
        client.set(key, client.get(key).replace(b'"available":100', b'"available":900'))
        assert balances.read(account_number=member.number).available == 100

    def test_version_from_a_lost_history_gives_way(self, member: Member, own_redis: OwnRedis) -> None:
        """After a failover that lost the tail, Redis may know versions that never were."""
        member.earns(100)
        own_redis.client().set(key_of(member.number), b"1 9000 -")
        assert balances.read(account_number=member.number).available == 100
        assert cached(member.number) == ("value", 1, 100)


class TestManyAtOnce:
    def test_refresh_reads_what_queries_read(self, own_redis: OwnRedis) -> None:
        now = clock.now()
        members = [Member() for _ in range(3)]
        members += [Member(client_id=members[0].client_id) for _ in range(27)]
        for position, member in enumerate(members):
            for lot in range(position % 5):
                days = (5, 29.9, 31.5, 400)[(position + lot) % 4]
                member.earns(10 + position, expires_at=now + timedelta(days=days, seconds=lot % 2))
            if position % 3 == 1:
                member.earns(7)
                member.spends(5)
        opened = [member for member in members if member.history]
        assert balances.refresh(account_ids=[account_id(member.number) for member in opened]) == len(opened)
        for member in opened:
            truth = balance_in_postgresql(member.number)
            raw = own_redis.client().get(key_of(member.number))
            value: Any = _format.decode(raw, account_number=member.number)
            assert value.sequence == truth.sequence
            assert value.record(account_number=member.number, as_of=truth.record.as_of) == truth.record

    def test_unknown_ids_are_left_out(self, member: Member) -> None:
        member.earns(100)
        assert balances.refresh(account_ids=[account_id(member.number), 2**62]) == 1
        assert balances.refresh(account_ids=[]) == 0

    def test_more_than_one_call_of_the_script_takes(self, own_redis: OwnRedis) -> None:
        numbers = [f"many-{position}" for position in range(1234)]
        assert _store.note_changes((number, 3) for number in numbers) is True
        assert {found.state for found in balances.peek(account_numbers=numbers)} == {"tombstone"}
        assert {found.sequence for found in balances.peek(account_numbers=numbers)} == {3}
