"""Settling without any id of ours: exactly one new row that matches is the operation."""

from __future__ import annotations

import pytest

from legacy_bridge import giving
from legacy_bridge.errors import OutcomeUnknown
from legacy_bridge.records import (
    Applied,
    NotApplied,
    StillUnknown,
)
from legacy_bridge.sessions import session
from tests.legacy_bridge.giving.cases import Case
from tests.legacy_bridge.requests import cancel, earn, new_account, spend
from tests.tcp_proxy import Behaviour


def test_a_direct_callers_row_beside_ours_is_told_apart_by_what_both_tell(new_row: Case) -> None:
    request = earn(new_account(), 40, reference="ORDER-7")
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    for points, reference in ((40, "ORDER-8"), (40, None), (41, "ORDER-7")):
        new_row.beside.run("CALL accrue(%s, %s, 10, %s)", request.account_number, points, reference)
    new_row.beside.run("CALL redeem(%s, 40, 20, 'ORDER-7')", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, Applied)
    assert settled.decision.balance_after == 40
    assert settled.decision.points == 40


def test_only_a_direct_callers_row_is_not_ours(new_row: Case) -> None:
    request = earn(new_account(), 40, reference="ORDER-7")
    new_row.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 40, 10, 'ORDER-8')", request.account_number)

    assert new_row.settle(request, known, old_session) == NotApplied()


def test_two_rows_that_match_are_for_a_person_to_decide(new_row: Case) -> None:
    request = earn(new_account(), 40)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 40, 10, 'ORDER-8')", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final
    assert len(settled.evidence["row_ids"]) == 2


def test_a_row_from_before_the_call_never_matches(new_row: Case) -> None:
    account = new_account()
    new_row.beside.run("CALL accrue(%s, 40, 10, NULL)", account)
    request = earn(account, 40)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=new_row.call, times=1)

    _, known, old_session = new_row.give(request)

    assert known is not None
    assert new_row.settle(request, known, old_session) == NotApplied()


def test_too_many_new_rows_are_for_a_person_to_decide(new_row: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "_NEW_ROWS_LOOKED_AT", 2)
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 1, 10, NULL)", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final


def test_a_lost_cancel_is_found_by_what_it_cancels(new_row: Case) -> None:
    account = new_account()
    new_row.give(earn(account, 50))
    first, second = (new_row.give(spend(account, 20))[0] for _ in range(2))
    request = cancel(account, first.row_id, 20)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=b"CALL redeem_cancel(", times=1)
    _, known, old_session = new_row.give(request)
    new_row.give(cancel(account, second.row_id, 20))

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, Applied)
    assert settled.decision.balance_after == 30


def test_an_error_of_a_procedure_that_commits_by_itself_is_unknown(new_row: Case) -> None:
    request = earn(new_account(), 40, reason="EVENT")
    new_row.beside.run("RENAME TABLE log_lot TO log_lot_away")
    try:
        error, known, old_session = new_row.give(request)
    finally:
        new_row.beside.run("RENAME TABLE log_lot_away TO log_lot")

    assert isinstance(error, OutcomeUnknown)
    assert new_row.settle(request, known, old_session) == NotApplied()


def test_a_row_that_another_operation_is_known_to_be_is_not_ours(new_row: Case) -> None:
    request = earn(new_account(), 40)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    other, _, _ = new_row.give(earn(request.account_number, 40))

    with session() as opened:
        settled = giving.settle(
            new_row.adapter,
            opened,
            request,
            known_row_id=known,
            old_session=old_session,
            of_others=lambda row_ids: {other.row_id} & set(row_ids),
        )

    assert isinstance(settled, Applied)
    assert settled.decision.balance_after == 40
