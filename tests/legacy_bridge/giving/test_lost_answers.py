"""The answer is lost: what was done is found, and what was not is given again."""

from __future__ import annotations

import time

import pytest

from legacy_bridge import giving, marker
from legacy_bridge.adapter import Settling
from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown
from legacy_bridge.records import (
    Applied,
    Decision,
    NotApplied,
    StillUnknown,
)
from legacy_bridge.sessions import session
from tests.legacy_bridge.adapters import exceptions
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.giving.cases import LEGACIES, TIMEOUT, Case
from tests.legacy_bridge.proxied import Beside, behind_proxy
from tests.legacy_bridge.requests import earn, new_account, spend
from tests.tcp_proxy import Behaviour


def test_an_operation_that_was_done_is_found(case: Case) -> None:
    request = earn(new_account(), 40)
    last = case.call if case.adapter.settling is not Settling.BY_MARKER else case.commit
    case.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=last, times=1)

    error, known, old_session = case.give(request)
    settled = case.settle(request, known, old_session)

    assert isinstance(error, OutcomeUnknown)
    assert isinstance(settled, Applied)
    assert settled.decision.points == 40
    assert case.available(request.account_number) == 40
    # And again, as a recoverer may that was killed before it wrote that down.
    assert case.settle(request, known, old_session) == settled


def test_an_operation_that_was_not_done_is_given_again_under_its_id(case: Case) -> None:
    request = earn(new_account(), 40)
    last = case.call if case.adapter.settling is not Settling.BY_MARKER else case.commit
    case.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=last, times=1)

    error, known, old_session = case.give(request)
    settled = case.settle(request, known, old_session)

    assert isinstance(error, OutcomeUnknown)
    assert settled == NotApplied()
    assert case.available(request.account_number) == 0
    decision, known, old_session = case.give(request)
    assert isinstance(decision, Decision)
    settled = case.settle(request, known, old_session)
    assert isinstance(settled, Applied)
    assert (settled.decision.row_id, settled.decision.points) == (decision.row_id, 40)
    assert case.available(request.account_number) == 40


@pytest.mark.parametrize("case", [name for name in LEGACIES if "marker" in name], indirect=True)
def test_a_call_lost_before_the_commit_was_not_done(case: Case) -> None:
    request = earn(new_account(), 40)
    case.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=case.call, times=1)

    error, known, old_session = case.give(request)

    assert isinstance(error, NotDone)
    assert case.settle(request, known, old_session) == NotApplied()
    assert case.available(request.account_number) == 0


LOCKING = {
    "by id": "SELECT pg_advisory_xact_lock(hashtext(%s))",
    "by marker on PostgreSQL": "SELECT * FROM loyalty.member WHERE member_no = %s FOR UPDATE",
    "by marker on MariaDB": "SELECT * FROM wallet WHERE member = %s FOR UPDATE",
    "by new row": "SELECT * FROM card WHERE card_no = %s FOR UPDATE",
}


def test_a_call_that_still_runs_is_ended_before_its_absence_counts(
    case: Case, request: pytest.FixtureRequest
) -> None:
    """The network is gone, the server has not noticed, and the procedure waits for a lock there."""
    account = new_account()
    assert isinstance(case.give(earn(account, 1))[0], Decision)
    name = next(name for name in LEGACIES if name in request.node.name)
    case.beside.run("BEGIN")
    case.beside.run(LOCKING[name], account)
    lost = earn(account, 40)
    case.proxy.behave(Behaviour.CUT_AFTER_FORWARD, when=case.call, times=1, server_is_told=False)

    error, known, old_session = case.give(lost)
    assert isinstance(error, OutcomeUnknown | NotDone)
    settled = case.settle(lost, known, old_session)

    # Released from its lock, it would now be done, had its session not been ended.
    case.beside.run("COMMIT")
    time.sleep(0.1)
    assert settled == NotApplied()
    assert case.available(account) == 1


def test_while_the_old_session_cannot_be_ended_absence_is_no_answer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = earn(new_account(), 40)
    with session() as opened:
        dialect = type(opened.dialect)
    monkeypatch.setattr(dialect, "end", lambda *_: False)

    settled = case.settle(request, None, "another|session|0")

    assert isinstance(settled, StillUnknown)
    assert not settled.is_final


def test_a_call_that_goes_on_in_its_session_proves_nothing_by_a_row_without_our_id(
    new_row: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row may be a direct caller's, with ours still to come."""
    request = earn(new_account(), 40)
    new_row.beside.run("CALL accrue(%s, 40, 10, NULL)", request.account_number)
    with session() as opened:
        monkeypatch.setattr(type(opened.dialect), "end", lambda *_: False)

    settled = new_row.settle(request, None, "another|session|0")

    assert isinstance(settled, StillUnknown)
    assert not settled.is_final


def test_the_same_id_cannot_be_marked_twice(case: Case) -> None:
    """Even a recoverer that gave it again too early would do nothing twice, but for a legacy without ids."""
    request = earn(new_account(), 40)

    first, _, _ = case.give(request)
    second, _, _ = case.give(request)

    assert isinstance(first, Decision)
    if case.adapter.settling is Settling.BY_NEW_ROW:
        assert isinstance(second, Decision)
    else:
        assert isinstance(second, NotDone)
        assert case.available(request.account_number) == 40


def test_nothing_is_given_while_the_legacy_is_away(case: Case) -> None:
    with case.proxy.behaving(Behaviour.REFUSE), pytest.raises(NotDone):
        case.give(earn(new_account()))


def test_a_locked_account_is_busy_and_nothing_is_kept(legacy_database: LegacyDatabase) -> None:
    url = legacy_database("postgresql", prepare=LEGACIES["by marker on PostgreSQL"][1])
    adapter, account = exceptions.Adapter(), new_account()
    with behind_proxy(url, timeout_seconds=TIMEOUT), session() as opened:
        giving.give(adapter, opened, earn(account, 10))
        beside = Beside(url)
        beside.run("BEGIN")
        beside.run("SELECT * FROM loyalty.member WHERE member_no = %s FOR UPDATE", account)

        with pytest.raises(Busy):
            giving.give(adapter, opened, request := spend(account, 4))

        beside.close()
        assert marker.find(opened, operation_id=request.operation_id) is None
