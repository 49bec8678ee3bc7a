"""Every bad input on every endpoint that it is about: refused in the same words, and nothing is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.models import Account
from pointsystem.api import gateway
from pointsystem.api.endpoints import ENDPOINTS, Endpoint
from tests.api import bad_inputs
from tests.api.bad_inputs import BadInput, path_of
from tests.api.caller import Api, Reply, send, written_rows

CASES = list(bad_inputs.cases())
WITH_NUMBERS = [endpoint for endpoint in ENDPOINTS if "{account_number}" in endpoint.path]
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "FOO", "get", ""}
PROBLEM_MEMBERS = {"type", "title", "status", "code", "detail", "request_id"}


def test_the_matrix_is_as_large_as_promised() -> None:
    assert len(CASES) >= 300
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.endpoint.name for case in CASES} == set(bad_inputs.GOOD_BODIES)


@pytest.mark.parametrize("endpoint", bad_inputs.with_bodies(), ids=lambda endpoint: endpoint.name)
def test_bad_inputs_are_refused_and_nothing_is_written(api: Api, endpoint: Endpoint) -> None:
    """All of one endpoint in one test, for there are many; what went wrong is named case by case."""
    before = (*written_rows(), Account.objects.count())
    wrong = []

    for case in CASES:
        if case.endpoint is endpoint:
            reply = _post(api, case)
            wrong += [(case.id, what) for what in _faults(case, reply)]
            if (*written_rows(), Account.objects.count()) != before:
                wrong.append((case.id, "something was written"))

    assert wrong == []


def _faults(case: BadInput, reply: Reply) -> list[str]:
    if reply.headers["content-type"] != "application/problem+json":
        return [f"answered {reply.status} {reply.body[:200]!r}"]
    problem = reply.json
    faults = []
    if (reply.status, problem["code"], problem["status"]) != (case.status, case.code, case.status):
        faults.append(f"answered {reply.status} {problem}")
    if set(problem) - {"errors"} != PROBLEM_MEMBERS:
        faults.append(f"has the members {sorted(problem)}")
    if case.wrong_field is not None and case.wrong_field not in reply.errors:
        faults.append(f"names {reply.errors}")
    return faults


@pytest.mark.parametrize("endpoint", bad_inputs.with_bodies(), ids=lambda endpoint: endpoint.name)
def test_the_good_body_beside_the_bad_ones_is_not_refused_for_its_form(api: Api, endpoint: Endpoint) -> None:
    """Or else the matrix would prove nothing."""
    case = BadInput("good", endpoint, json.dumps(bad_inputs.GOOD_BODIES[endpoint.name]).encode())

    reply = _post(api, case)

    if endpoint.name == "batch":
        assert reply.errors == {"operations": "bad_value"}
    else:
        assert reply.status in (200, 201, 404, 422), reply.body


@pytest.mark.parametrize(
    "value",
    [
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'Application/JSON; charset="utf-8"',
    ],
)
def test_json_in_utf_8_may_say_so(api: Api, account: str, value: str) -> None:
    body = {"points": 1, "reason": "EVENT"}

    assert api.post(f"/api/v1/accounts/{account}/earn", body, Content_Type=value).status == 201


@pytest.mark.parametrize(
    "value",
    [
        "*/*",
        "application/*",
        "application/json;q=0.1, text/html",
        "text/html, */*;q=0.5",
        "",
        "APPLICATION/JSON",
    ],
)
def test_whoever_takes_json_gets_it(api: Api, account: str, value: str) -> None:
    assert api.get(f"/api/v1/accounts/{account}/balance", Accept=value).status == 200


@pytest.mark.parametrize("endpoint", WITH_NUMBERS, ids=lambda endpoint: endpoint.name)
def test_an_account_number_in_the_path_obeys_the_same_rule(api: Api, endpoint: Endpoint) -> None:
    before = (*written_rows(), Account.objects.count())

    for name, number in bad_inputs.PATH_NUMBERS.items():
        path = path_of(endpoint, account_number=number)
        if endpoint.method == "GET":
            reply = api.get(path)
        else:
            reply = api.post(path, bad_inputs.GOOD_BODIES[endpoint.name])
        assert (reply.status, reply.code) == (400, "validation_failed"), name
        assert reply.errors == {"account_number": "bad_format"}, name

    assert (*written_rows(), Account.objects.count()) == before


def test_all_errors_come_at_once(api: Api) -> None:
    body = {
        "points": "10",
        "reason": "",
        "expires_at": "2026-01-01",
        "occurred_at": 5,
        "metadata": {"a": None},
        "colour": "red",
    }

    reply = api.post("/api/v1/accounts/a%20b/earn?x=1", body)

    assert reply.errors == {"account_number": "bad_format", "x": "unknown_field"}
    reply = api.post("/api/v1/accounts/a%20b/earn", body)
    assert reply.errors == {
        "account_number": "bad_format",
        "colour": "unknown_field",
        "points": "wrong_type",
        "reason": "bad_format",
        "expires_at": "bad_format",
        "occurred_at": "wrong_type",
        "metadata": "bad_value",
    }


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_unknown_parameters_are_refused_everywhere(api: Api, endpoint: Endpoint) -> None:
    before = written_rows()
    path = path_of(endpoint) + "?user__password=x"

    if endpoint.method == "GET":
        reply = api.get(path)
    else:
        reply = api.post(path, bad_inputs.GOOD_BODIES[endpoint.name])

    assert (reply.status, reply.code) == (400, "validation_failed")
    assert reply.errors["user__password"] == "unknown_field"
    assert written_rows() == before


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_other_methods_are_refused_and_the_right_ones_named(api: Api, endpoint: Endpoint) -> None:
    before = written_rows()
    headers = {"Authorization": f"Bearer {api.key}", "X-HTTP-Method-Override": endpoint.method}

    for method in METHODS - {endpoint.method}:
        reply = send(method, path_of(endpoint), headers=headers)
        assert (reply.status, reply.code) == (405, "method_not_allowed"), method
        assert reply.headers["allow"] == endpoint.method

    assert written_rows() == before


@pytest.mark.parametrize("declared", ["11", "1000", "-1", "1e3", "x", "\u0661"])
def test_a_body_that_is_not_as_long_as_it_says_is_refused(api: Api, account: str, declared: str) -> None:
    before = written_rows()
    body = b'{"a": 1}'
    path = f"/api/v1/accounts/{account}/earn"

    reply = api.post(path, body, Content_Length=declared)

    assert (reply.status, reply.code) == (400, "malformed_request")
    assert written_rows() == before


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "a b", "127.0.0.1@evil", "[::1"]
)
def test_another_host_is_not_served(api: Api, account: str, host: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/balance", Host=host)

    assert (reply.status, reply.code) == (400, "malformed_request")


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [(None, 400), ("http", 400), ("https", 200), ("https, http", 200), ("http, https", 400)],
)
def test_where_https_is_meant_plain_http_is_not_served(
    api: Api,
    account: str,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    forwarded: str | None,
    status: int,
) -> None:
    """And not redirected either: a client would send its key in clear first, every time."""
    monkeypatch.setattr(gateway, "_IS_HTTPS_ONLY", True)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {} if forwarded is None else {"X_Forwarded_Proto": forwarded}

    reply = api.get(f"/api/v1/accounts/{account}/balance", **headers)

    assert reply.status == status
    assert send("GET", "/healthz").status == 200


def test_a_header_that_nobody_was_told_to_trust_makes_nothing_secure(
    api: Api, account: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway, "_IS_HTTPS_ONLY", True)
    settings.SECURE_PROXY_SSL_HEADER = None

    reply = api.get(f"/api/v1/accounts/{account}/balance", X_Forwarded_Proto="https")

    assert (reply.status, reply.code) == (400, "malformed_request")


def _post(api: Api, case: BadInput) -> Reply:
    headers = {name.replace("-", "_"): value for name, value in case.headers.items()}
    key = headers.pop("Idempotency_Key", "")
    if "Idempotency-Key" in case.headers:
        return api.post(path_of(case.endpoint), case.body, key=None, Idempotency_Key=key, **headers)
    return api.post(path_of(case.endpoint), case.body, **headers)
