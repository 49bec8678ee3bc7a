from datetime import UTC, datetime, timedelta

import pytest

from ledger import clock, expiry, queries
from ledger.errors import ValidationRefused
from tests.ledger.member import NOON, Member, days_later, refusal_of


def test_a_never_seen_account_has_nothing(member: Member) -> None:
    balance = queries.balance(account_number=member.number)

    assert (balance.available, balance.next_expiry, balance.as_of) == (0, None, NOON)
    # 1 March + 30 days: the end of 31 March in Seoul.
    assert (balance.expiring_soon.points, balance.expiring_soon.before) == (
        0,
        datetime(2026, 3, 31, 15, 0, tzinfo=UTC),
    )


def test_what_lapses_soon_and_what_lapses_next(member: Member) -> None:
    window_end = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)
    member.earns(1, expires_at=NOON + timedelta(days=2))
    member.earns(2, expires_at=NOON + timedelta(days=2))
    member.earns(4, expires_at=window_end - timedelta(microseconds=1))
    member.earns(8, expires_at=window_end)
    member.earns(16, expires_at=None)

    balance = queries.balance(account_number=member.number)

    assert balance.available == 31
    assert balance.expiring_soon.points == 7
    assert balance.next_expiry is not None
    assert (balance.next_expiry.points, balance.next_expiry.at) == (3, NOON + timedelta(days=2))


def test_lapsed_points_are_never_shown_however_late_the_expire_job(member: Member) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=1))
    member.earns(5, expires_at=None)
    days_later(1)

    before = queries.balance(account_number=member.number)
    expiry.expire_points()
    after = queries.balance(account_number=member.number)

    assert (before.available, before.next_expiry, before.expiring_soon.points) == (5, None, 0)
    assert (after.available, after.next_expiry, after.expiring_soon.points) == (5, None, 0)


def test_the_version_is_the_sequence_of_the_last_entry(member: Member) -> None:
    assert queries.balance_with_sequence(account_number=member.number)[1] == 0
    member.earns(10)
    member.spends(3)

    assert queries.balance_with_sequence(account_number=member.number)[1] == 2


def test_as_of_shows_what_could_be_spent_then(member: Member) -> None:
    moments = {}
    member.earns(10, expires_at=NOON + timedelta(days=3))
    moments["earned"] = clock.now()
    days_later(1)
    spent = member.spends(4)
    moments["spent"] = clock.now()
    days_later(1)
    member.cancels(spent, 1)
    moments["cancelled"] = clock.now()
    days_later(1)  # lapses now, and nobody has posted it
    moments["lapsed"] = clock.now()
    days_later(5)
    expiry.expire_points()
    days_later(1)
    member.earns(2)

    shown = {
        name: queries.balance_as_of(account_number=member.number, as_of=at).available
        for name, at in moments.items()
    }

    assert shown == {"earned": 10, "spent": 6, "cancelled": 7, "lapsed": 0}
    assert (
        queries.balance_as_of(account_number=member.number, as_of=NOON - timedelta(seconds=1)).available == 0
    )
    assert queries.balance_as_of(account_number=member.number, as_of=clock.now()).available == 2


def test_as_of_tells_what_would_lapse_from_there(member: Member) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=3))
    member.earns(20, expires_at=NOON + timedelta(days=50))
    days_later(100)

    # The second earn is a microsecond later than the first.
    then_at = NOON + timedelta(microseconds=1)
    then = queries.balance_as_of(account_number=member.number, as_of=then_at)

    assert (then.available, then.expiring_soon.points, then.as_of) == (30, 10, then_at)
    assert then.next_expiry is not None
    assert (then.next_expiry.points, then.next_expiry.at) == (10, NOON + timedelta(days=3))


def test_the_future_is_refused(member: Member) -> None:
    refusal = refusal_of(
        queries.balance_as_of, account_number=member.number, as_of=NOON + timedelta(microseconds=1)
    )

    assert isinstance(refusal, ValidationRefused)
    assert (refusal.field, refusal.field_code) == ("as_of", "in_the_future")


@pytest.mark.parametrize("zone", ["Asia/Seoul", "America/New_York", "UTC"])
def test_the_window_is_days_of_the_programmes_time_zone(member: Member, settings: object, zone: str) -> None:
    settings.POINTS_TIME_ZONE = zone  # type: ignore[attr-defined]

    before = queries.balance(account_number=member.number).expiring_soon.before

    local = before.astimezone(clock.programme_zone())
    assert (local.hour, local.minute) == (0, 0)
    assert (local.date() - NOON.astimezone(clock.programme_zone()).date()).days == 31
