"""Three legacies of different shapes, each behind an adapter of its own: what it can, what it refuses, and
what it cannot represent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType

import pytest

from legacy_bridge import giving
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.errors import NotRepresentable, Refused, RefusedFact
from legacy_bridge.records import HistoryRow, LegacyBalance, RowKind, Share
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import exceptions, signals, status_strings
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.requests import cancel, earn, new_account, spend

VENDOR = {status_strings: "mariadb", signals: "mariadb", exceptions: "postgresql"}
INSTALL = {
    module: (lambda module=module: _install(module)) for module in (status_strings, signals, exceptions)
}
SOON = timedelta(days=30)


def _install(module: ModuleType) -> None:
    with session() as opened:
        module.install(opened)


@pytest.fixture(
    params=[status_strings, signals, exceptions], ids=lambda module: module.__name__.split(".")[-1]
)
def legacy(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> ModuleType:
    legacy_database(VENDOR[request.param], prepare=INSTALL[request.param])
    return request.param


@pytest.fixture
def adapter(legacy: ModuleType) -> LegacyAdapter:
    return legacy.Adapter()


@pytest.fixture
def opened(legacy: ModuleType) -> Iterator[Session]:
    with session() as opened:
        yield opened


def available(adapter: LegacyAdapter, opened: Session, account: str) -> int:
    return _balance(adapter, opened, account).available


def _balance(adapter: LegacyAdapter, opened: Session, account: str) -> LegacyBalance:
    before = datetime.now(UTC) + SOON
    return adapter.balance(opened, account_number=account, expiring_before=before)


# --- what all of them do --------------------------------------------------------------------------------
def test_points_are_earned_and_spent(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()

    earned = giving.give(adapter, opened, earn(account, 100))
    spent = giving.give(adapter, opened, spend(account, 30))

    assert (earned.points, earned.balance_after) == (100, 100)
    assert (spent.points, spent.balance_after) == (30, 70)
    assert abs(datetime.now(UTC) - spent.recorded_at) < timedelta(minutes=1)
    assert available(adapter, opened, account) == 70


def test_an_account_never_seen_has_nothing_and_can_spend_nothing(
    adapter: LegacyAdapter, opened: Session
) -> None:
    account = new_account()

    assert available(adapter, opened, account) == 0
    with pytest.raises(Refused) as refused:
        giving.give(adapter, opened, spend(account, 1))
    assert refused.value.fact is RefusedFact.INSUFFICIENT_POINTS


def test_a_refused_spend_changes_nothing(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    giving.give(adapter, opened, earn(account, 10))

    with pytest.raises(Refused) as refused:
        giving.give(adapter, opened, spend(account, 11))

    assert refused.value.fact is RefusedFact.INSUFFICIENT_POINTS
    assert available(adapter, opened, account) == 10


BLOCKING = {
    status_strings: "UPDATE wallet SET is_blocked = TRUE WHERE member = %s",
    signals: "UPDATE card SET state = 'S' WHERE card_no = %s",
    exceptions: "UPDATE loyalty.member SET closed = true WHERE member_no = %s",
}


def test_a_blocked_account_is_refused(legacy: ModuleType, adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    giving.give(adapter, opened, earn(account, 10))
    opened.query(BLOCKING[legacy], [account])

    for request in (earn(account, 1), spend(account, 1)):
        with pytest.raises(Refused) as refused:
            giving.give(adapter, opened, request)
        assert refused.value.fact is RefusedFact.ACCOUNT_BLOCKED
    assert available(adapter, opened, account) == 10


def test_account_numbers_that_differ_in_case_are_two(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()

    giving.give(adapter, opened, earn(account, 10))
    giving.give(adapter, opened, earn(account.upper(), 20))

    assert available(adapter, opened, account) == 10
    assert available(adapter, opened, account.upper()) == 20


def test_a_key_that_the_legacy_cannot_keep_is_not_representable(
    adapter: LegacyAdapter, opened: Session
) -> None:
    with pytest.raises(NotRepresentable):
        giving.give(adapter, opened, earn("x" * 101, 10))
    with pytest.raises(NotRepresentable):
        giving.give(adapter, opened, earn("blank ", 10))


# --- what each declares ---------------------------------------------------------------------------------
def test_every_feature_is_missing_somewhere() -> None:
    adapters = [module.Adapter() for module in VENDOR]

    everywhere = frozenset.intersection(*(adapter.features for adapter in adapters))

    assert everywhere == {Feature.EARN, Feature.SPEND}
    for declared in ("takes_expires_at", "tells_shares", "tells_expiring", "tells_next_expiry"):
        assert {getattr(adapter, declared) for adapter in adapters} == {True, False}


def test_what_is_not_declared_is_not_representable(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    earned = giving.give(adapter, opened, earn(account, 100))
    spent = giving.give(adapter, opened, spend(account, 40))
    whole_spend = cancel(account, spent.row_id or "1", 40)
    whole_earn = cancel(account, earned.row_id, 100, is_of_spend=False)
    needs = [
        ({Feature.CANCEL_SPEND}, whole_spend),
        ({Feature.CANCEL_EARN}, whole_earn),
        (
            {Feature.CANCEL_SPEND, Feature.CANCEL_PART},
            cancel(account, spent.row_id or "1", 5, cancelled_points=40),
        ),
    ]
    if not adapter.takes_expires_at:
        needs += [(set(), earn(account, 1, expires_at=None))]
    if "GIFT_CARD" not in adapter.reason_codes:
        needs += [(set(), earn(account, 1, reason="GIFT_CARD"))]

    for features, request in needs:
        if not features or not features <= adapter.features:
            with pytest.raises(NotRepresentable):
                giving.give(adapter, opened, request)

    assert available(adapter, opened, account) == 60


@pytest.mark.parametrize(
    ("feature", "read"),
    [
        (Feature.LOTS, lambda adapter, opened: adapter.lots(opened, account_number="x", with_ended=False)),
        (
            Feature.HISTORY,
            lambda adapter, opened: adapter.history(opened, account_number="x", before_row_id=None, limit=1),
        ),
        (
            Feature.FIND_BY_REFERENCE,
            lambda adapter, opened: adapter.rows_by_reference(opened, reference="x", limit=1),
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Feature) else "",
)
def test_reading_what_is_not_declared_is_not_representable(
    adapter: LegacyAdapter, opened: Session, feature: Feature, read: object
) -> None:
    if feature in adapter.features:
        assert list(read(adapter, opened)) == []
    else:
        with pytest.raises(NotRepresentable):
            read(adapter, opened)


# --- what only some do ----------------------------------------------------------------------------------
def where(can: Callable[[LegacyAdapter], bool]) -> pytest.MarkDecorator:
    """The test is of the legacies that declare it; what the others do instead has tests of its own."""
    modules = [module for module in VENDOR if can(module.Adapter())]
    assert modules
    names = [module.__name__.rpartition(".")[2] for module in modules]
    return pytest.mark.parametrize("legacy", modules, ids=names, indirect=True)


def having(*features: Feature) -> pytest.MarkDecorator:
    return where(lambda adapter: set(features) <= adapter.features)


@having(Feature.CANCEL_SPEND)
def test_a_spend_is_cancelled_once(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    giving.give(adapter, opened, earn(account, 100))
    spent = giving.give(adapter, opened, spend(account, 40))

    cancelled = giving.give(adapter, opened, cancel(account, spent.row_id, 40))

    assert (cancelled.points, cancelled.balance_after) == (40, 100)
    with pytest.raises(Refused) as refused:
        giving.give(adapter, opened, cancel(account, spent.row_id, 40))
    assert refused.value.fact is RefusedFact.NOT_CANCELLABLE
    assert available(adapter, opened, account) == 100


@having(Feature.CANCEL_SPEND, Feature.CANCEL_PART)
def test_a_spend_is_cancelled_in_parts(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    first = giving.give(adapter, opened, earn(account, 10))
    second = giving.give(adapter, opened, earn(account, 20))
    spent = giving.give(adapter, opened, spend(account, 25))

    given_back = giving.give(adapter, opened, cancel(account, spent.row_id, 16, cancelled_points=25))

    # What was taken last comes back first.
    lots = [first.shares[0].lot_id, second.shares[0].lot_id]
    assert [(share.lot_id, share.points) for share in spent.shares] == [(lots[0], 10), (lots[1], 15)]
    assert [(share.lot_id, share.points) for share in given_back.shares] == [(lots[1], 15), (lots[0], 1)]
    with pytest.raises(Refused):
        giving.give(adapter, opened, cancel(account, spent.row_id, 10, cancelled_points=25))
    assert available(adapter, opened, account) == 21


@having(Feature.CANCEL_EARN)
def test_an_earn_is_cancelled_unless_it_was_spent(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    earned = giving.give(adapter, opened, earn(account, 50))
    unspent = giving.give(adapter, opened, earn(account, 7))
    giving.give(adapter, opened, spend(account, 20))

    with pytest.raises(Refused) as refused:
        giving.give(adapter, opened, cancel(account, earned.row_id, 50, is_of_spend=False))
    assert refused.value.fact is RefusedFact.EARN_ALREADY_SPENT
    giving.give(adapter, opened, cancel(account, unspent.row_id, 7, is_of_spend=False))
    with pytest.raises(Refused) as refused:
        giving.give(adapter, opened, cancel(account, unspent.row_id, 7, is_of_spend=False))
    assert refused.value.fact is RefusedFact.NOT_CANCELLABLE
    assert available(adapter, opened, account) == 30


@having(Feature.LOTS)
def test_lots_are_listed_in_the_order_in_which_they_are_taken(
    adapter: LegacyAdapter, opened: Session
) -> None:
    account = new_account()
    for points in (10, 20):
        giving.give(adapter, opened, earn(account, points, reason="EVENT"))
    giving.give(adapter, opened, spend(account, 12))

    lots = adapter.lots(opened, account_number=account, with_ended=False)

    assert [(lot.points, lot.remaining, lot.reason) for lot in lots] == [(20, 18, "EVENT")]
    assert lots[0].expires_at > datetime.now(UTC) + timedelta(days=300)
    if Feature.ALL_LOTS in adapter.features:
        ended = adapter.lots(opened, account_number=account, with_ended=True)
        assert [lot.remaining for lot in ended] == [0, 18]


@having(Feature.HISTORY)
def test_history_is_read_in_pages_and_in_order(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    earned = giving.give(adapter, opened, earn(account, 50, reference="ORDER-1"))
    spent = giving.give(adapter, opened, spend(account, 20, reference="ORDER-2"))
    back = giving.give(adapter, opened, cancel(account, spent.row_id, 20))

    newest = adapter.history(opened, account_number=account, before_row_id=None, limit=2)
    oldest = adapter.history(opened, account_number=account, before_row_id=newest[-1].row_id, limit=2)

    def told(rows: list[HistoryRow]) -> list[tuple]:
        return [(row.row_id, row.kind, row.points, row.balance_after, row.reference) for row in rows]

    assert told(newest) == [
        (back.row_id, RowKind.SPEND_CANCEL, 20, 50, None),
        (spent.row_id, RowKind.SPEND, -20, 30, "ORDER-2"),
    ]
    assert told(oldest) == [(earned.row_id, RowKind.EARN, 50, 50, "ORDER-1")]
    assert newest[0].cancels_row_id == spent.row_id
    after = adapter.rows_after(opened, row_id=earned.row_id, limit=10, account_number=account)
    assert told(after) == told(reversed(newest))
    assert told(adapter.rows_by_id(opened, [spent.row_id])) == told(newest[1:])
    assert [row.row_id for row in adapter.rows_after(opened, row_id=spent.row_id, limit=9)] == [back.row_id]


@having(Feature.FIND_BY_REFERENCE)
def test_rows_are_found_by_the_reference(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    earned = giving.give(adapter, opened, earn(account, 50, reference=account))
    giving.give(adapter, opened, spend(account, 1, reference=f"{account}-other"))

    found = adapter.rows_by_reference(opened, reference=account, limit=5)

    assert [(row.row_id, row.account_number) for row in found] == [(earned.row_id, account)]


@where(lambda adapter: adapter.takes_expires_at)
def test_an_expiry_of_ones_own_is_obeyed(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()
    expires_at = datetime(2030, 5, 1, 15, 0, tzinfo=UTC)

    giving.give(adapter, opened, earn(account, 5, expires_at=None))
    giving.give(adapter, opened, earn(account, 3, expires_at=expires_at))

    lots = adapter.lots(opened, account_number=account, with_ended=False)
    assert [(lot.points, lot.expires_at) for lot in lots] == [(3, expires_at), (5, None)]


@where(lambda adapter: adapter.tells_shares)
def test_shares_name_the_lots(adapter: LegacyAdapter, opened: Session) -> None:
    account = new_account()

    earned = giving.give(adapter, opened, earn(account, 5))

    (lot,) = adapter.lots(opened, account_number=account, with_ended=False)
    assert earned.shares == (Share(lot_id=lot.lot_id, points=5, expires_at=lot.expires_at),)


def test_what_lapses_soon_and_next_is_told(adapter: LegacyAdapter, opened: Session) -> None:
    if not adapter.tells_expiring:
        assert _balance(adapter, opened, new_account()) == LegacyBalance(available=0)
        return
    account = new_account()
    giving.give(adapter, opened, earn(account, 5))

    now = datetime.now(UTC)
    soon = adapter.balance(opened, account_number=account, expiring_before=now + SOON)
    late = adapter.balance(opened, account_number=account, expiring_before=now + timedelta(days=800))

    assert (soon.expiring_points, late.expiring_points) == (0, 5)
    if adapter.tells_next_expiry:
        moment, points = soon.next_expiry
        assert points == 5
        assert now + timedelta(days=364) < moment < now + timedelta(days=367)
    else:
        assert soon.next_expiry is None
