"""Some operations are given as one transaction: all of them are done or none, and what became of each can be
found out by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from legacy_bridge import giving
from legacy_bridge.errors import Busy, LegacyError, NotDone, OutcomeUnknown, Refused
from legacy_bridge.records import Applied, Decision, EarnRequest, NotApplied, Request
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import exceptions, signals, status_strings
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.giving.cases import ById, Case
from tests.legacy_bridge.giving.conftest import _case
from tests.legacy_bridge.requests import earn, new_account, spend
from tests.tcp_proxy import Behaviour


@pytest.fixture(params=["by id", "by marker on PostgreSQL"])
def whole(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> Iterator[Case]:
    """A legacy whose server keeps a transaction whole."""
    yield from _case(legacy_database, request.param)


def give_together(case: Case, requests: Sequence[Request]) -> tuple[list[Decision] | LegacyError, str]:
    """What came of it, and the session that made the calls."""
    with session() as opened:
        name = opened.identity
        assert giving.may_be_together(case.adapter, opened)
        try:
            with giving.together(opened):
                decisions = [giving.give(case.adapter, opened, request) for request in requests]
            return decisions, name
        except LegacyError as error:
            return error, name


def balances(case: Case, requests: Sequence[Request]) -> list[int]:
    return [case.available(request.account_number) for request in requests]


def test_what_is_given_together_is_done_when_the_block_has_ended(whole: Case) -> None:
    requests = [earn(new_account(), points) for points in (10, 20, 30)]

    decisions, name = give_together(whole, requests)

    assert isinstance(decisions, list)
    assert [decision.points for decision in decisions] == [10, 20, 30]
    assert balances(whole, requests) == [10, 20, 30]
    for request, decision in zip(requests, decisions, strict=True):
        settled = whole.settle(request, None, name)
        assert isinstance(settled, Applied)
        assert settled.decision.row_id == decision.row_id


def test_one_that_is_refused_takes_back_those_before_it(legacy_database: LegacyDatabase) -> None:
    for whole in _case(legacy_database, "by marker on PostgreSQL"):
        requests = [earn(new_account(), 10), spend(new_account(), 5), earn(new_account(), 30)]

        error, name = give_together(whole, requests)

        assert isinstance(error, Refused)
        assert balances(whole, requests) == [0, 0, 0]
        assert whole.settle(requests[0], None, name) == NotApplied()


def test_a_commit_that_never_arrived_is_unknown_and_each_is_found_not_done(whole: Case) -> None:
    requests = [earn(new_account(), points) for points in (10, 20, 30)]
    whole.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=b"COMMIT", times=1)

    error, name = give_together(whole, requests)

    assert isinstance(error, OutcomeUnknown)
    assert [whole.settle(request, None, name) for request in requests] == [NotApplied()] * 3
    assert balances(whole, requests) == [0, 0, 0]


def test_a_commit_whose_answer_was_lost_is_unknown_and_each_is_found_done(whole: Case) -> None:
    requests = [earn(new_account(), points) for points in (10, 20, 30)]
    whole.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=b"COMMIT", times=1)

    error, name = give_together(whole, requests)

    assert isinstance(error, OutcomeUnknown)
    settled = [whole.settle(request, None, name) for request in requests]
    assert [each.decision.points for each in settled if isinstance(each, Applied)] == [10, 20, 30]
    assert balances(whole, requests) == [10, 20, 30]


def test_a_connection_that_is_lost_on_the_way_leaves_nothing_done_for_certain(whole: Case) -> None:
    requests = [earn(new_account(), points) for points in (10, 20, 30)]
    whole.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=requests[1].account_number.encode(), times=1)

    error, _ = give_together(whole, requests)

    assert isinstance(error, NotDone)
    assert balances(whole, requests) == [0, 0, 0]


def test_a_lock_is_waited_for_only_briefly(legacy_database: LegacyDatabase) -> None:
    for whole in _case(legacy_database, "by id"):
        free, taken = earn(new_account(), 10), earn(new_account(), 20)
        whole.beside.run("SELECT pg_advisory_lock(hashtext(%s))", taken.account_number)
        started = time.monotonic()

        error, _ = give_together(whole, [free, taken])

        # The lock timeout of one by itself is half a second here.
        assert time.monotonic() - started < 0.4
        assert isinstance(error, Busy)
        assert balances(whole, [free, taken]) == [0, 0]


class PassesOver(ById):
    """Takes an error of the server for an answer."""

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        decision = super().earn(session, request)
        try:
            session.query("SELECT 1 / 0")
        except NotDone:
            return decision
        raise AssertionError


def test_an_error_that_an_adapter_passes_over_is_not_taken_for_done(legacy_database: LegacyDatabase) -> None:
    for whole in _case(legacy_database, "by id"):
        request = earn(new_account(), 10)

        with session() as opened, pytest.raises(NotDone, match="passed over"), giving.together(opened):
            giving.give(PassesOver(), opened, request)

        assert whole.available(request.account_number) == 0


class Alone(exceptions.Adapter):
    may_be_called_together = False


class CommitsItself(ById):
    commits_itself = True


def test_what_may_end_its_transaction_or_is_told_by_new_rows_is_given_alone(
    legacy_database: LegacyDatabase,
) -> None:
    legacy_database("postgresql")
    with session() as opened:
        adapters = (ById(), exceptions.Adapter(), Alone(), CommitsItself(), signals.Adapter())
        may = [giving.may_be_together(adapter, opened) for adapter in adapters]
    assert may == [True, True, False, False, False]

    legacy_database("mariadb")
    with session() as opened:
        assert not giving.may_be_together(status_strings.Adapter(), opened)
