"""The OpenAPI document says what is served, no more and no less."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from django.urls import get_resolver, reverse

from pointsystem.api.endpoints import ENDPOINTS
from pointsystem.api.problems import CODES, INTERNAL_ERROR
from pointsystem.api.reference import DIRECTORY, api_reference, errors_reference
from tests.api import bad_inputs
from tests.api.caller import Api, send


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    reply = send("GET", "/api/schema")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    parsed: dict[str, Any] = reply.json
    return parsed


def test_every_path_of_the_url_conf_is_described_and_the_other_way_round(document: dict[str, Any]) -> None:
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    named = {
        "/" + re.sub(r"<str:([a-z_]+)>", r"{\1}", str(pattern.pattern))
        for pattern in _api_patterns()
        if pattern.name and pattern.name != "api-docs"
    }

    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
    assert {path for _, path in described} == named
    assert document["openapi"] == "3.1.0"


def test_every_endpoint_has_a_name_in_the_url_conf() -> None:
    for endpoint in ENDPOINTS:
        assert reverse(f"api-{endpoint.name}", kwargs=_arguments(endpoint.path)) == bad_inputs.path_of(
            endpoint
        )


def test_the_document_refers_to_nothing_that_is_not_in_it(document: dict[str, Any]) -> None:
    text = json.dumps(document)

    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        place: Any = document
        for part in reference.split("/"):
            place = place[part]
    assert "http://" not in text
    assert "https://" not in text


def test_the_codes_of_problems_are_the_closed_list(document: dict[str, Any]) -> None:
    described = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]

    assert described == [*CODES, INTERNAL_ERROR]
    by_status: dict[int, set[str]] = {}
    for code, meaning in CODES.items():
        by_status.setdefault(meaning.status, set()).add(code)
    assert by_status == {
        400: {"malformed_request", "idempotency_key_missing", "idempotency_key_invalid", "validation_failed"},
        401: {"not_authenticated"},
        403: {"scope_missing"},
        404: {"operation_not_found", "not_found"},
        405: {"method_not_allowed"},
        406: {"not_acceptable"},
        409: {"operation_in_progress", "not_cancellable", "not_available_in_stage"},
        413: {"payload_too_large"},
        415: {"unsupported_media_type"},
        422: {"insufficient_points", "idempotency_key_reused", "account_blocked", "earn_already_spent"},
        429: {"rate_limited"},
        503: {
            "spending_frozen",
            "account_held",
            "account_busy",
            "outcome_unknown",
            "primary_unavailable",
            "database_unavailable",
        },
    }


def test_what_is_answered_is_what_is_described(api: Api, document: dict[str, Any], account: str) -> None:
    """One answer of every endpoint, and some problems, against the schemas of the document."""
    friend = f"{account}.friend"
    earned = api.earn(account, 100, reference="order-1", metadata={"a": 1})
    operation = earned.json["id"]
    items = [
        {"kind": "earn", "idempotency_key": "b", "account_number": account, "points": 1, "reason": "EVENT"},
        {"kind": "spend"},
    ]
    answers = {
        "earn": earned,
        "spend": api.spend(account, 10),
        "cancel": api.cancel(operation, points=20),
        "transfer": api.transfer(account, friend, 5),
        "batch": api.post("/api/v1/operations:batch", {"operations": items}, key=None),
        "find_operation": api.get(f"/api/v1/operations/{operation}"),
        "operations_by_reference": api.get("/api/v1/operations?reference=order-1"),
        "balance": api.get(f"/api/v1/accounts/{account}/balance"),
        "lots": api.get(f"/api/v1/accounts/{friend}/lots"),
        "history": api.get(f"/api/v1/accounts/{account}/history"),
        "spend_preview": api.post(f"/api/v1/accounts/{account}/spend/preview", {"points": 3}, key=None),
        "healthz": send("GET", "/healthz"),
        "readyz": send("GET", "/readyz"),
        "metrics": send("GET", "/metrics"),
        "schema": send("GET", "/api/schema"),
    }
    problems = {
        "earn": api.earn(account, 0),
        "spend": api.spend(account, 1_000),
        "cancel": api.cancel("x"),
        "transfer": api.transfer(account, friend, 1_000),
        "batch": api.post("/api/v1/operations:batch", {}, key=None),
        "find_operation": api.get("/api/v1/operations/x"),
        "balance": api.get(f"/api/v1/accounts/{account}/balance?as_of=x"),
    }

    assert set(answers) == {endpoint.name for endpoint in ENDPOINTS}
    for name, reply in [*answers.items(), *problems.items()]:
        endpoint = next(endpoint for endpoint in ENDPOINTS if endpoint.name == name)
        described = document["paths"][endpoint.path][endpoint.method.lower()]["responses"][str(reply.status)]
        media_type = reply.headers["content-type"].split(";")[0]
        schema = described["content"][media_type]["schema"]
        if media_type != "text/plain":
            rooted = {**schema, "components": document["components"]}
            jsonschema_rs.validate(rooted, reply.json)
        assert set(described["headers"]) <= {
            *(
                "X-Request-ID",
                "Idempotency-Replayed",
                "Location",
                "Preference-Applied",
                "Retry-After",
                "Allow",
            )
        }


def test_an_answer_with_one_member_more_would_be_noticed(
    api: Api, document: dict[str, Any], account: str
) -> None:
    """Or else the test above would prove less than it says."""
    operation = api.earn(account, 1).json
    schema = {"$ref": "#/components/schemas/OperationResponse", "components": document["components"]}
    jsonschema_rs.validate(schema, operation)

    for wrong in ({**operation, "client_id": 1}, {**operation, "kind": "gift"}, {"id": operation["id"]}):
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(schema, wrong)


def test_the_docs_page_needs_no_other_host_and_no_script_inside(db: None) -> None:
    from django.contrib.staticfiles import finders
    from django.test import Client

    response = Client(headers={"host": "localhost"}).get("/api/docs")
    page = response.content.decode()

    assert response.status_code == 200
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|style=", page)
    for path in re.findall(r'(?:src|href)="/static/([^"]+)"', page):
        assert finders.find(path) is not None, path
    assert reverse("api-schema") in page


def test_the_reference_in_docs_is_written_from_the_same_table() -> None:
    """When this fails: `python3 manage.py write_api_reference`."""
    assert (DIRECTORY / "api.md").read_text() == api_reference()
    assert (DIRECTORY / "errors.md").read_text() == errors_reference()


def _api_patterns() -> list[Any]:
    resolvers = [item for item in get_resolver().url_patterns if hasattr(item, "url_patterns")]
    return [
        pattern
        for resolver in resolvers
        for pattern in resolver.url_patterns
        if str(getattr(pattern, "name", "") or "").startswith("api-")
    ]


def _arguments(path: str) -> dict[str, str]:
    return {name: bad_inputs.PATH_ARGUMENTS[name] for name in re.findall(r"\{(\w+)\}", path)}
