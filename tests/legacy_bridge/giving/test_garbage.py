"""Answers that cannot be true."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from legacy_bridge import giving, marker
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.errors import NotDone, OutcomeUnknown
from legacy_bridge.records import (
    Applied,
    EarnRequest,
    Share,
    StillUnknown,
)
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import signals
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.giving.cases import LEGACIES, Case
from tests.legacy_bridge.requests import earn, new_account


def spoilt(adapter: type[LegacyAdapter], **changed: Any) -> LegacyAdapter:
    """The adapter, but its decisions say something else (or what is given as `decision`)."""

    class Spoilt(adapter):
        def earn(self, session: Session, request: EarnRequest) -> Any:
            decision = super().earn(session, request)
            if "decision" in changed:
                return changed["decision"]
            if "raises" in changed:
                raise changed["raises"]
            return dataclasses.replace(decision, **changed)

    return Spoilt()


NOW = datetime(2026, 1, 1, tzinfo=UTC)
GARBAGE: list[dict[str, Any]] = [
    {"decision": None},
    {"decision": (1, 2)},
    {"points": None},
    {"points": -40},
    {"points": "40"},
    {"points": 40.0},
    {"points": 41},
    {"balance_after": -1},
    {"balance_after": "many"},
    {"balance_after": True},
    {"account_number": "somebody else"},
    {"row_id": ""},
    {"row_id": 7},
    {"recorded_at": None},
    {"recorded_at": NOW.replace(tzinfo=None)},
    {"recorded_at": datetime.now(UTC) + timedelta(days=3)},
    {"shares": (Share(lot_id="1", points=39, expires_at=None),)},
    {
        "shares": (
            Share(lot_id="1", points=41, expires_at=None),
            Share(lot_id="2", points=-1, expires_at=None),
        )
    },
    {"shares": (Share(lot_id="", points=40, expires_at=None),)},
    {"raises": AttributeError("'NoneType' object has no attribute 'astimezone'")},
    {"raises": ZeroDivisionError("division by zero")},
    {"raises": RuntimeError("whatever")},
]


def _named(changed: dict[str, Any]) -> str:
    return " ".join(map(str, changed.items()))[:40]


@pytest.mark.parametrize("changed", GARBAGE, ids=_named)
@pytest.mark.parametrize("name", ["by marker on PostgreSQL", "by marker on MariaDB"])
def test_an_answer_that_cannot_be_true_is_kept_nowhere_with_the_marker(
    legacy_database: LegacyDatabase, changed: dict[str, Any], name: str
) -> None:
    vendor, install, adapter, _ = LEGACIES[name]
    legacy_database(vendor, prepare=install)
    request = earn(new_account(), 40)
    with session() as opened:
        with pytest.raises(NotDone, match="cannot be true"):
            giving.give(spoilt(adapter, **changed), opened, request)

        assert marker.find(opened, operation_id=request.operation_id) is None
        now = datetime.now(UTC)
        balance = adapter().balance(opened, account_number=request.account_number, expiring_before=now)
        assert balance.available == 0


@pytest.mark.parametrize("changed", GARBAGE[::4], ids=_named)
@pytest.mark.parametrize("name", ["by id", "by new row"])
def test_an_answer_that_cannot_be_true_is_unknown_where_it_was_kept(
    legacy_database: LegacyDatabase, changed: dict[str, Any], name: str
) -> None:
    vendor, install, adapter, _ = LEGACIES[name]
    legacy_database(vendor, prepare=install)
    request = earn(new_account(), 40)
    with session() as opened:
        known = giving.bookmark(adapter(), opened, account_number=request.account_number)
        old_session = opened.identity
    with session() as opened, pytest.raises(OutcomeUnknown, match="cannot be true"):
        giving.give(spoilt(adapter, **changed), opened, request)

    with session() as opened:
        settled = giving.settle(adapter(), opened, request, known_row_id=known, old_session=old_session)
    assert isinstance(settled, Applied)


def test_garbage_found_when_settling_is_for_a_person_to_decide(new_row: Case) -> None:
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("UPDATE log SET balance = -5 WHERE card_no = %s", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final


def test_another_accounts_row_found_when_settling_is_for_a_person_to_decide(
    new_row: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    read = signals.Adapter.rows_after
    monkeypatch.setattr(
        signals.Adapter,
        "rows_after",
        lambda *given, **named: [
            structs.replace(row, account_number="somebody else") for row in read(*given, **named)
        ],
    )

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final
