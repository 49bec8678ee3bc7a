"""The same cases in each stage in which one side follows; and what they left is the same on both sides."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from pointsystem.contract import Case
from pointsystem.contract.capabilities import Capability
from tests.contract.suite import Implementation, declares_what_it_lacks, every_case, keeps
from tests.contract.test_on_legacies import lacks
from tests.legacy_bridge.conftest import _databases  # noqa: F401
from tests.wrapped import LEGACIES, Wrapped, at_legacy

LEGACY: Final = LEGACIES[0]
STAGES: Final = ("LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST", "NEW_ONLY")
#: The ledger decides as the reference legacy can follow.
_BOUND: Final = frozenset(
    {
        Capability.TRANSFER,
        Capability.LONG_ACCOUNT_NUMBERS,
        Capability.SOONEST_FIRST,
        Capability.CLAWBACK_WITHIN_BALANCE,
    }
)
_DRAIN_SECONDS: Final = 60.0


@dataclass
class Staged:
    stage: str
    product: Wrapped
    legacy_url: str
    implementation: Implementation


def move_to(product: Wrapped, stage: str) -> None:
    """One step after the other, as the database asks for it."""
    product.query("UPDATE cutover_route SET capture = true, epoch = epoch + 1")
    for step in STAGES[1 : STAGES.index(stage) + 1]:
        product.query("UPDATE cutover_route SET stage = %s, epoch = epoch + 1", [step])
    time.sleep(0.3)


@pytest.fixture(scope="module", params=STAGES[1:])
def staged(
    request: pytest.FixtureRequest,
    _databases: Any,  # noqa: F811
    django_db_blocker: Any,
) -> Iterator[Staged]:
    stage: str = request.param
    with django_db_blocker.unblock():
        url = _databases.make(LEGACY.vendor)
        at_legacy(url, LEGACY.install)
    product = Wrapped(adapter=LEGACY.adapter, legacy_url=url)
    try:
        product.start()
        key, other_key = product.make_client("contract"), product.make_client("other")
        product.query(
            "INSERT INTO cutover_route (cohort, stage, epoch, changed_at)"
            " VALUES ('default', 'LEGACY_ONLY', 1, now()) ON CONFLICT DO NOTHING"
        )
        move_to(product, stage)
        by_legacy = stage == "LEGACY_FIRST"
        implementation = Implementation(
            base_url=product.url, key=key, other_key=other_key, lacks=lacks(LEGACY) if by_legacy else _BOUND
        )
        yield Staged(stage=stage, product=product, legacy_url=url, implementation=implementation)
    finally:
        product.stop()


@every_case
def test_the_api_keeps_the_contract_in_the_stage(staged: Staged, case: Case) -> None:
    keeps(staged.implementation, case)


def test_what_a_stage_is_declared_to_lack_is_seen_to_be_lacking(staged: Staged) -> None:
    declares_what_it_lacks(staged.implementation)


def test_both_sides_hold_the_same_points_afterwards(staged: Staged, django_db_blocker: Any) -> None:
    if staged.stage == "NEW_ONLY":
        # Recorded there, and told when somebody follows again.
        staged.product.query("UPDATE cutover_route SET stage = 'NEW_FIRST', epoch = epoch + 1")
    give_up_at = time.monotonic() + _DRAIN_SECONDS
    while staged.product.query("SELECT 1 FROM cutover_message WHERE state = 'waiting' LIMIT 1"):
        parked = staged.product.query(
            "SELECT last_error, payload FROM cutover_message WHERE state = 'parked'"
        )
        assert parked == []
        assert time.monotonic() < give_up_at, staged.product.query(
            "SELECT direction, last_error, count(*) FROM cutover_message WHERE state = 'waiting'"
            " GROUP BY 1, 2"
        )
        time.sleep(0.2)

    told = staged.product.query("SELECT count(*) FROM cutover_message WHERE state = 'applied'")[0][0]
    done = staged.product.query("SELECT count(*) FROM ledger_operation WHERE state = 'completed'")[0][0]
    assert told == done > 0
    assert staged.product.query("SELECT last_error FROM cutover_message WHERE state = 'parked'") == []
    by_ledger = staged.product.query(
        "SELECT account_number, sum(remaining)::bigint FROM ledger_open_lot JOIN ledger_account"
        " ON ledger_account.id = account_id WHERE expires_at IS NULL OR expires_at > now() GROUP BY 1"
    )
    with django_db_blocker.unblock():
        assert dict(by_ledger) == at_legacy(staged.legacy_url, _balances)


def _balances() -> dict[str, int]:
    from legacy_bridge.sessions import session

    with session() as opened:
        rows = opened.query(
            "SELECT rtrim(MBR_NO), SUM(REMAIN_AMT)::bigint FROM legacy.PT_LOT"
            " WHERE REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > legacy.PT_NOW()) GROUP BY 1"
        )
    return dict(rows)
