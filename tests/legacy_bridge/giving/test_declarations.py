"""Adapters that do not say the truth, or contradict themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from legacy_bridge import giving
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.calling import call_function, call_procedure
from legacy_bridge.errors import NotRepresentable, OutcomeUnknown
from legacy_bridge.records import (
    Applied,
    Decision,
    EarnRequest,
)
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import signals, status_strings
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.giving.cases import ById, install_by_id
from tests.legacy_bridge.requests import cancel, earn, new_account, spend

COMMITTING = """
CREATE PROCEDURE grant_and_commit(IN p_member CHAR(36), IN p_points BIGINT, OUT p_result VARCHAR(10))
BEGIN
    DECLARE v_id CHAR(36);
    DECLARE v_balance BIGINT;
    DECLARE v_at DATETIME(6);
    CALL p_grant(p_member, p_points, 'EVENT', NULL, v_id, v_balance, v_at, p_result);
    COMMIT;
END
"""


class Denying(status_strings.Adapter):
    """Its procedure commits, and it says that it does not."""

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        from legacy_bridge.calling import Out

        call_procedure(session, "grant_and_commit", [request.account_number, request.points, Out()])
        return Decision(row_id=None, points=request.points, recorded_at=datetime.now(UTC))


def test_a_procedure_that_commits_against_its_adapters_word_never_passes(legacy_mariadb: str) -> None:
    request = earn(new_account(), 40)
    with session() as opened:
        status_strings.install(opened)
        run_text(opened, COMMITTING)
        old_session = opened.identity

        with pytest.raises(OutcomeUnknown, match="which its adapter denies"):
            giving.give(Denying(), opened, request)

    with session() as opened:
        settled = giving.settle(Denying(), opened, request, known_row_id=None, old_session=old_session)
    assert isinstance(settled, Applied)


class TwoStatements(ById):
    """It reads on after the function: what was done is done, whatever happens to that."""

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        decision = super().earn(session, request)
        call_function(session, "is_not_there", [1])
        return decision


def test_an_error_after_the_statement_that_did_it_is_unknown(legacy_postgres: str) -> None:
    install_by_id()
    request = earn(new_account(), 40)
    with session() as opened, pytest.raises(OutcomeUnknown):
        giving.give(TwoStatements(), opened, request)

    with session() as opened:
        gone = opened.identity
        settled = giving.settle(ById(), opened, request, known_row_id=None, old_session=gone)
    assert isinstance(settled, Applied)


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"settling": Settling.BY_ID}, "no find_by_operation_id"),
        ({"settling": Settling.BY_MARKER, "commits_itself": True}, "do not commit"),
        ({"settling": None}, "does not say"),
        ({"settling": Settling.BY_NEW_ROW, "last_row_id": LegacyAdapter.last_row_id}, "no last_row_id"),
        ({"features": frozenset({Feature.ALL_LOTS})}, "without lots"),
        ({"features": frozenset({Feature.LOTS}), "lots": LegacyAdapter.lots}, "no lots"),
    ],
)
def test_declarations_that_contradict_each_other_are_refused(
    declared: dict[str, Any], complaint: str
) -> None:
    contradicting = type("Contradicting", (signals.Adapter,), {"commits_itself": False, **declared})

    with pytest.raises(TypeError, match=complaint):
        contradicting()


def test_what_was_not_declared_never_reaches_the_legacy() -> None:
    class Reading(ById):
        features = frozenset({Feature.HISTORY})
        history = signals.Adapter.history

    for request in (earn("A1"), spend("A1"), cancel("A1", "1", 5)):
        with pytest.raises(NotRepresentable), session_that_must_not_be_used() as nothing:
            giving.give(Reading(), nothing, request)


class session_that_must_not_be_used:  # noqa: N801
    def __enter__(self) -> Any:
        return None

    def __exit__(self, *_: object) -> None:
        return None
