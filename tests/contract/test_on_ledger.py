"""The ledger keeps the whole contract: nothing is unavailable there, and nothing is left untold."""

from __future__ import annotations

from typing import Any, Final

import pytest

from pointsystem.contract import Case
from pointsystem.contract.results import Verdict
from tests.contract.suite import Implementation, every_case, keeps, make_clients

#: Cases that the ledger is known to break, and how. Strict: whoever mends it takes the line out.
KNOWN: Final = {
    "later.a_cancel_that_is_refused_stays_refused": (
        "not_cancellable that is found while accepting is not stored with its key, and names no operation"
    ),
}


@pytest.fixture(scope="module")
def implementation(live_server_url: str, celery_workers: Any, django_db_blocker: Any) -> Implementation:
    key, other_key = make_clients(django_db_blocker)
    return Implementation(base_url=live_server_url, key=key, other_key=other_key)


@every_case
def test_the_ledger_keeps_the_contract(
    implementation: Implementation, case: Case, request: pytest.FixtureRequest
) -> None:
    if case.name in KNOWN:
        request.applymarker(pytest.mark.xfail(reason=KNOWN[case.name], strict=True))
    keeps(implementation, case)


def test_the_ledger_lacks_nothing(implementation: Implementation) -> None:
    assert {result.verdict for result in implementation.results} <= {Verdict.PASSED, Verdict.FAILED}
    assert {capability for result in implementation.results for capability in result.cannot_tell} == set()
