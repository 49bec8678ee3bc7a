"""The ledger keeps the whole contract: nothing is unavailable there, and nothing is left untold."""

from __future__ import annotations

import pytest

from pointsystem.contract import Case
from pointsystem.contract.results import Verdict
from tests.contract.suite import Implementation, every_case, keeps


@pytest.fixture(scope="module")
def implementation(live_server_url: str, keys: tuple[str, str]) -> Implementation:
    return Implementation(base_url=live_server_url, key=keys[0], other_key=keys[1])


@every_case
def test_the_ledger_keeps_the_contract(implementation: Implementation, case: Case) -> None:
    keeps(implementation, case)


def test_the_ledger_lacks_nothing(implementation: Implementation) -> None:
    assert {result.verdict for result in implementation.results} <= {Verdict.PASSED, Verdict.FAILED}
    assert {capability for result in implementation.results for capability in result.cannot_tell} == set()
