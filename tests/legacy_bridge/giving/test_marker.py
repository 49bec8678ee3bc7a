"""The marker table keeps what was done, and nothing else."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from legacy_bridge import giving, marker
from legacy_bridge.errors import Refused
from legacy_bridge.records import (
    Decision,
    Share,
)
from legacy_bridge.sessions import session
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.giving.cases import LEGACIES
from tests.legacy_bridge.requests import new_account, spend

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_refusal_leaves_no_marker(legacy_database: LegacyDatabase) -> None:
    for name in ("by marker on PostgreSQL", "by marker on MariaDB"):
        vendor, install, adapter, _ = LEGACIES[name]
        legacy_database(vendor, prepare=install)
        request = spend(new_account(), 40)
        with session() as opened:
            with pytest.raises(Refused):
                giving.give(adapter(), opened, request)
            assert marker.find(opened, operation_id=request.operation_id) is None


def test_the_marker_keeps_the_whole_decision(legacy_database: LegacyDatabase) -> None:
    decision = Decision(
        row_id="7",
        points=5,
        recorded_at=NOW,
        balance_after=9,
        shares=(
            Share(lot_id="1", points=2, expires_at=NOW),
            Share(lot_id="2", points=3, expires_at=None),
        ),
    )
    for vendor in ("postgresql", "mariadb"):
        legacy_database(vendor)
        with session() as opened:
            marker.create(opened)
            marker.create(opened)
            first, second = uuid.uuid4(), uuid.uuid4()
            marker.put(opened, operation_id=first, decision=decision)
            marker.put(opened, operation_id=second, decision=Decision(row_id=None, points=1, recorded_at=NOW))

            assert marker.find(opened, operation_id=first) == decision
            assert marker.find(opened, operation_id=second).shares is None
            assert marker.find(opened, operation_id=uuid.uuid4()) is None


def test_many_lots_fit_into_a_marker(legacy_mariadb: str) -> None:
    shares = tuple(Share(lot_id=str(number), points=1, expires_at=NOW) for number in range(5000))
    with session() as opened:
        marker.create(opened)
        decision = Decision(row_id="1", points=5000, recorded_at=NOW, shares=shares)
        marker.put(opened, operation_id=(number := uuid.uuid4()), decision=decision)

        assert marker.find(opened, operation_id=number) == decision
