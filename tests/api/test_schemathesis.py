"""Thousands of requests made up from the OpenAPI document, valid ones and invalid ones, by schemathesis.

`POINTS_API_CASES` says how many cases at least (default 2,000; nightly 20,000). Each must be answered as the
document says: no server error, no undocumented status or shape, nothing invalid accepted, nothing valid
refused for its form.
"""

from __future__ import annotations

import os
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pointsystem.api.endpoints import ENDPOINTS, MOST_BODY_BYTES
from pointsystem.api.openapi import document
from tests.api.caller import ALL_SCOPES, Api, application

CASES = int(os.environ.get("POINTS_API_CASES", "2000"))
#: The open endpoints take nothing, so there is one case of each.
CASES_EACH = -(-CASES // sum(not endpoint.is_open for endpoint in ENDPOINTS))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
]
OF_THE_WHOLE = [negative_data_rejection]
#: What no schema can say: the clock, the operator's reasons, the list that a cursor belongs to.
NOT_OF_FORM = {
    *("unknown_reason", "reason_not_allowed"),
    *("in_the_past", "in_the_future", "too_far_ahead", "too_far_back"),
    *("same_account", "invalid"),
}


REASONS: dict[str, list[str | None]] = {
    "Earn": ["ORDER_REWARD", "REVIEW"],
    "Spend": ["ORDER_PAYMENT"],
    "Cancel": ["ORDER_CANCELLED", None],
    "Transfer": ["GIFT"],
}


def _document() -> dict[str, Any]:
    """The served document, with what no schema can know filled in: the reasons that there are.

    Without its security, for every case is sent with a valid key (test_authorization.py has the others).
    """
    made: dict[str, Any] = deepcopy(document())
    del made["security"], made["components"]["securitySchemes"]
    for kind, reasons in REASONS.items():
        for form in ("Request", "Item"):
            made["components"]["schemas"][f"{kind}{form}"]["properties"]["reason"] = {"enum": reasons}
    return made


schema = schemathesis.openapi.from_dict(_document())
schema.app = application
#: By endpoint, status, and whether the case was a valid one.
answered: Counter[tuple[str, int, bool]] = Counter()


@pytest.fixture(scope="module")
def caller(django_db_setup: None, django_db_blocker: Any) -> Api:
    with django_db_blocker.unblock():
        return Api(scopes=[*ALL_SCOPES, "operations:any"])


@schema.parametrize()
@settings(
    max_examples=CASES_EACH,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_made_up_requests_are_answered_as_described(
    committed_db: None, caller: Api, case: schemathesis.Case
) -> None:
    if _has_parts_that_never_go_out(case):
        return
    response = case.call(headers={"Authorization": f"Bearer {caller.key}"}, base_url="http://localhost")

    answered[(case.operation.label, response.status_code, _is_valid(case))] += 1
    is_batch = case.operation.path.endswith(":batch") and response.status_code == 200
    # What is too large is refused unread, right or wrong; schemathesis does not count that as a rejection.
    is_too_large = response.status_code == 413
    assert not is_too_large or len(response.request.body or b"") > MOST_BODY_BYTES
    case.validate_response(
        response,
        checks=[check for check in CHECKS if not ((is_batch or is_too_large) and check in OF_THE_WHOLE)],
    )
    if is_batch and _is_wrong_in_the_body(case):
        # What is wrong with an item is the problem of that item.
        assert any(result["status"] >= 400 for result in response.json()["results"])
    if response.status_code == 400 and _is_valid(case):
        _refused_for_what_no_schema_says(case, response)


def test_there_were_enough_cases_valid_and_invalid_ones_of_every_endpoint() -> None:
    if {label for label, _, _ in answered} != {
        f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS
    }:
        pytest.skip("follows the cases of all endpoints in one process")
    print(*sorted(answered.items()), sep="\n")

    assert answered.total() >= CASES
    assert {label for label, _, _ in answered} == {
        f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS
    }
    assert not [status for _, status, _ in answered if status >= 500]
    for endpoint in ENDPOINTS:
        if not endpoint.is_open:
            label = f"{endpoint.method} {endpoint.path}"
            valid = sum(
                number for (other, _, is_valid), number in answered.items() if other == label and is_valid
            )
            invalid = sum(
                number for (other, _, is_valid), number in answered.items() if other == label and not is_valid
            )
            assert valid >= CASES_EACH // 10, (label, valid)
            assert invalid >= CASES_EACH // 10, (label, invalid)
    earn = next(endpoint for endpoint in ENDPOINTS if endpoint.name == "earn")
    assert answered[(f"POST {earn.path}", 201, True)] > 0


def _is_valid(case: schemathesis.Case) -> bool:
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def _has_parts_that_never_go_out(case: schemathesis.Case) -> bool:
    """A parameter without a value is dropped on the way, and with it what was meant to be wrong."""
    return any(value is None or value in ([], {}) for value in (case.query or {}).values())


def _is_wrong_in_the_body(case: schemathesis.Case) -> bool:
    part = case.meta.components.get(ParameterLocation.BODY) if case.meta else None
    return part is not None and part.mode == GenerationMode.NEGATIVE


def _refused_for_what_no_schema_says(case: schemathesis.Case, response: Any) -> None:
    problem = response.json()
    for error in problem.get("errors", [{"code": problem["code"], "field": ""}]):
        value = case.body.get(error["field"]) if isinstance(case.body, dict) else None
        # JSON Schema calls 10.0 an integer; where points are meant, only 10 is one.
        is_float = isinstance(value, float)
        # At its offset the year is 1 to 9999, in UTC it is not.
        is_beyond = str(value or case.query).find("0001-01-01T") >= 0 or str(value).startswith("9999-12-31T")
        explained = error["code"] in NOT_OF_FORM or error["field"] == "metadata" or is_float or is_beyond
        assert explained, (problem, case.body)
