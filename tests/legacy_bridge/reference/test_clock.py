"""Local times without a zone: the legacy's clock, and what becomes of its moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase


def _is_now(moment: datetime) -> bool:
    return abs(datetime.now(UTC) - moment) < timedelta(seconds=20)


def test_the_running_clock_is_the_programmes_local_time(reference: Any) -> None:
    from legacy_bridge.reference import clock
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    assert _is_now(Member(reference).earn(1).recorded_at)
    with session() as opened:
        local = clock.local_now(opened)
    # Seoul is nine hours ahead, whatever zone the server or this machine has.
    assert abs(local - datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=9)) < timedelta(seconds=20)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
def test_another_zone_is_that_of_the_setting(
    legacy_database: LegacyDatabase, settings: Any, vendor: str, zone: str
) -> None:
    from legacy_bridge.reference import ReferenceAdapter
    from tests.legacy_bridge.conftest import install_reference
    from tests.legacy_bridge.reference.member import Member

    settings.POINTS_LEGACY_TIME_ZONE = zone
    legacy_database(vendor)
    install_reference()
    adapter = ReferenceAdapter()

    earn = Member(adapter).earn(1)

    assert _is_now(earn.recorded_at)
    (share,) = earn.shares or ()
    assert share.expires_at is not None
    local = adapter.local(share.expires_at)
    assert (local.hour, local.minute, local.second) == (0, 0, 0)


def test_an_expiry_to_the_microsecond_comes_back_as_it_went_in(reference: Any) -> None:
    from legacy_bridge.giving import give
    from legacy_bridge.records import EarnRequest
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    member = Member(reference)
    # The year turns in Seoul while it is still the old one in UTC.
    until = datetime(2099, 12, 31, 15, 0, 0, 1, tzinfo=UTC)
    request = EarnRequest(
        operation_id=uuid4(),
        account_number=member.number,
        points=1,
        reason="EVENT",
        reference=None,
        expires_at=until,
    )
    with session() as opened:
        decision = give(reference, opened, request)

    assert [share.expires_at for share in decision.shares or ()] == [until]
    assert [lot.expires_at for lot in member.lots()] == [until]
    assert reference.local(until) == datetime(2100, 1, 1, 0, 0, 0, 1)  # noqa: DTZ001


@pytest.mark.parametrize("zone", ["Asia/Seoul", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"])
def test_whole_days_are_put_into_utc_as_each_moment_would_be(settings: Any, zone: str) -> None:
    from legacy_bridge.reference.adapters import PostgreSQLReference

    settings.POINTS_LEGACY_TIME_ZONE = zone
    adapter = PostgreSQLReference()
    # A year in which clocks were changed in all of them but the first.
    first = datetime(2018, 1, 1)  # noqa: DTZ001
    moments = [first + timedelta(minutes=10 * step) for step in range(6 * 24 * 366)]
    assert [adapter.instant(moment) for moment in moments] == [
        moment.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) for moment in moments
    ]


def test_a_moment_that_comes_twice_is_the_first(settings: Any) -> None:
    from legacy_bridge.reference.adapters import PostgreSQLReference

    settings.POINTS_LEGACY_TIME_ZONE = "America/New_York"
    adapter = PostgreSQLReference()

    twice = datetime(2026, 11, 1, 1, 30)  # noqa: DTZ001
    assert adapter.instant(twice) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    assert adapter.local(datetime(2026, 11, 1, 6, 30, tzinfo=UTC)) == twice
