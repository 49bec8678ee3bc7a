"""A suite that cannot fail is worthless: each lie breaks the cases that are named beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from pointsystem.contract import Result, Suite, find_cases, run_suite
from pointsystem.contract.capabilities import REPORTS, Capability
from pointsystem.contract.results import Verdict
from tests.contract import suite
from tests.contract.lies import LIES, Ask, on_answer, on_operations
from tests.contract.lying import Asked, Lie, Told, lying_server, problem, told
from tests.contract.suite import judge


@pytest.fixture
def run(live_server_url: str, keys: tuple[str, str]) -> Callable[[Lie, str], Result]:
    """Runs the one case of a name against the real server behind a lie."""

    def run(lie: Lie, name: str) -> Result:
        (case,) = [case for case in find_cases(name) if case.name == name]
        with lying_server(lie, live_server_url) as url:
            return Suite(url, *keys).run(case)

    return run


@pytest.mark.parametrize(
    ("lie", "name"),
    [pytest.param(lie, name, id=f"{lie}-{name}") for lie, (_, names) in LIES.items() for name in names],
)
def test_a_lie_is_found_out(run: Callable[[Lie, str], Result], lie: str, name: str) -> None:
    result = run(LIES[lie][0], name)

    assert result.verdict is Verdict.FAILED, result
    is_silent = lie == "the connection is closed"
    assert result.message.startswith("no answer: ") is is_silent, result.message
    assert result.exchange is not None or is_silent


def test_without_a_lie_these_cases_pass(run: Callable[[Lie, str], Result]) -> None:
    """So it was the lie: the server of lies itself changes nothing."""
    names = sorted({name for _, names in LIES.values() for name in names})

    results = [run(lambda asked, ask: ask(asked), name) for name in names]

    assert [result for result in results if result.verdict is not Verdict.PASSED] == []


# --- Servers that know one answer -----------------------------------------------------------------------
def verdicts(lie: Lie) -> dict[str, Verdict]:
    with lying_server(lie) as url:
        results = run_suite(url, "a-key", "another-key")
    return {result.case.name: result.verdict for result in results.results}


@pytest.mark.parametrize(
    "answer",
    [told(200, {}), told(201, {}), told(500, {}), told(200, []), Told(204, {"x-request-id": "stub"})],
    ids=["200-object", "201-object", "500", "200-list", "204"],
)
def test_no_case_passes_where_all_answers_are_the_same(answer: Told) -> None:
    assert set(verdicts(lambda asked, ask: answer).values()) == {Verdict.FAILED}


def test_only_what_may_be_unavailable_is(keys: tuple[str, str]) -> None:
    """A server that refuses everything as not available fails all cases that need no capability."""
    found = verdicts(lambda asked, ask: problem(409, "not_available_in_stage"))

    expected = {
        case.name: Verdict.UNAVAILABLE if case.needs - REPORTS else Verdict.FAILED for case in find_cases()
    }
    assert found == expected


# --- What is not available, not told, or later ----------------------------------------------------------
def refusing(ending: str) -> Lie:
    def lie(asked: Asked, ask: Ask) -> Told:
        return problem(409, "not_available_in_stage") if asked.is_of(ending) else ask(asked)

    return lie


def test_what_a_legacy_declares_is_accepted_and_nothing_else(run: Callable[[Lie, str], Result]) -> None:
    result = run(refusing("/transfers"), "transfers.a_transfer_answers_the_operation")

    assert result.verdict is Verdict.UNAVAILABLE
    judge(result, lacks=frozenset({Capability.TRANSFER}))
    with pytest.raises(pytest.fail.Exception, match="not declared so"):
        judge(result, lacks=frozenset({Capability.LOTS}))


def test_what_works_must_not_be_declared_as_lacking(
    live_server_url: str, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = find_cases("transfers.a_transfer") + find_cases("reads.a_preview")
    monkeypatch.setattr(suite, "find_cases", lambda: few)
    with lying_server(refusing("/transfers"), live_server_url) as url:
        implementation = suite.Implementation(url, *keys, lacks={Capability.TRANSFER})
        for case in few:
            suite.keeps(implementation, case)

    suite.declares_what_it_lacks(implementation)
    implementation.lacks = {Capability.TRANSFER, Capability.PREVIEW}
    with pytest.raises(pytest.fail.Exception, match="declared to lack, and does not: preview"):
        suite.declares_what_it_lacks(implementation)
    implementation.results.pop()
    with pytest.raises(pytest.skip.Exception):
        suite.declares_what_it_lacks(implementation)


def test_a_null_is_told_apart_from_a_wrong_value(run: Callable[[Lie, str], Result]) -> None:
    lie = on_operations(lambda found: found.update(lots=None, balance_after=None))

    result = run(lie, "writes.spend_reports_what_it_took")

    assert result.verdict is Verdict.PASSED
    assert result.cannot_tell == {Capability.REPORTS_LOTS, Capability.REPORTS_BALANCE_AFTER}
    judge(result, lacks=result.cannot_tell)
    with pytest.raises(pytest.fail.Exception, match="not told, and not declared so: reports_lots"):
        judge(result, lacks=frozenset({Capability.REPORTS_BALANCE_AFTER}))


def test_a_history_that_is_not_to_be_had_is_noted(run: Callable[[Lie, str], Result]) -> None:
    result = run(refusing("/history"), "writes.nobody_overspends")

    assert (result.verdict, result.cannot_tell) == (Verdict.PASSED, {Capability.HISTORY})
    with pytest.raises(pytest.fail.Exception, match="not told, and not declared so: history"):
        judge(result, lacks=frozenset())


def test_another_way_of_doing_it_is_seen(run: Callable[[Lie, str], Result]) -> None:
    """An earn that was spent cannot be cancelled: allowed, once it is declared."""

    def lie(asked: Asked, ask: Ask) -> Told:
        if not asked.is_of("/cancel"):
            return ask(asked)
        refused = problem(422, "earn_already_spent")
        outcome = str(uuid4())
        refused.json = {**refused.json, "operation_id": outcome, "request_id": outcome}
        return refused

    result = run(lie, "cancels.spent_points_are_taken_from_others_or_reported")

    assert result.verdict is Verdict.UNAVAILABLE
    assert result.does_otherwise is Capability.CLAWBACK_WITHIN_BALANCE
    judge(result, lacks=frozenset({Capability.CLAWBACK_WITHIN_BALANCE}))
    with pytest.raises(pytest.fail.Exception):
        judge(result, lacks=frozenset({Capability.TRANSFER}))


def test_a_limit_of_the_rate_is_waited_for(run: Callable[[Lie, str], Result]) -> None:
    refused: list[str] = []

    def lie(asked: Asked, ask: Ask) -> Told:
        if asked.is_of("/earn") and not refused:
            refused.append(asked.path)
            return problem(429, "rate_limited", Retry_After="1")
        return ask(asked)

    assert run(lie, "writes.earns_add_up").verdict is Verdict.PASSED
    assert len(refused) == 1


def test_without_a_second_client_its_cases_are_skipped(live_server_url: str, keys: tuple[str, str]) -> None:
    chosen = [case for case in find_cases() if case.needs_other_client]

    results = run_suite(live_server_url, keys[0], chosen=chosen)

    assert len(chosen) >= 6
    assert {result.verdict for result in results.results} == {Verdict.SKIPPED}
    assert all("--other-key" in result.message for result in results.results)


def test_no_key_stands_in_what_is_reported(live_server_url: str, keys: tuple[str, str]) -> None:
    chosen = find_cases("http.")
    lie = on_answer(lambda asked, answer: answer.headers.pop("x-request-id"))
    with lying_server(lie, live_server_url) as url:
        results = run_suite(url, *keys, chosen=chosen)

    assert results.has_failed
    assert not any(key in json.dumps(results.as_json()) for key in keys)
