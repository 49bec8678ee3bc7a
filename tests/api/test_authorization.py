"""Who may do what: every endpoint times every scope, read off the table of endpoints."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from ledger.clients import create_client, revoke_client
from ledger.models import Scope
from pointsystem.api import authentication
from pointsystem.api.endpoints import ENDPOINTS, Endpoint
from tests.api import bad_inputs
from tests.api.bad_inputs import path_of
from tests.api.caller import Api, Reply, send, written_rows

CLOSED = [endpoint for endpoint in ENDPOINTS if not endpoint.is_open]
#: What each endpoint must ask for. Written out by hand: the table itself could be wrong.
EXPECTED: dict[str, str | None] = {
    "earn": "points:earn",
    "spend": "points:spend",
    "cancel": "points:cancel",
    "transfer": "points:transfer",
    # Each item needs the scope of its own kind (test_batch.py).
    "batch": None,
    "find_operation": "points:read",
    "operations_by_reference": "points:read",
    "balance": "points:read",
    "lots": "points:read",
    "history": "points:read",
    "spend_preview": "points:read",
}
OPEN = {"healthz", "readyz", "metrics", "schema"}


def ask(api: Api, endpoint: Endpoint) -> Reply:
    path = path_of(endpoint)
    if endpoint.name == "operations_by_reference":
        path += "?reference=r-1"
    if endpoint.method == "GET":
        return api.get(path)
    return api.post(path, bad_inputs.GOOD_BODIES[endpoint.name])


def test_the_matrix_knows_every_endpoint() -> None:
    assert {endpoint.name for endpoint in CLOSED} == set(EXPECTED)
    assert {endpoint.name for endpoint in ENDPOINTS if endpoint.is_open} == OPEN


@pytest.mark.parametrize("scope", [*Scope.values, "all", "all but one"])
@pytest.mark.parametrize("endpoint", CLOSED, ids=lambda endpoint: endpoint.name)
def test_a_scope_opens_its_endpoints_and_no_other(noon: object, endpoint: Endpoint, scope: str) -> None:
    needed = EXPECTED[endpoint.name]
    scopes = [scope]
    if scope == "all":
        scopes = list(Scope.values)
    elif scope == "all but one":
        scopes = [other for other in Scope.values if other != needed]
    api = Api(scopes=scopes)
    before = written_rows()

    reply = ask(api, endpoint)

    if needed is None or needed in scopes:
        assert reply.status not in (401, 403), reply.body
    else:
        assert (reply.status, reply.code) == (403, "scope_missing")
        assert needed in reply.json["detail"]
        assert written_rows() == before


BAD_CREDENTIALS = {
    "none": None,
    "empty": "",
    "scheme alone": "Bearer",
    "blank key": "Bearer ",
    "basic": "Basic dXNlcjpwYXNz",
    "token": "Token {key}",
    "key alone": "{key}",
    "two blanks": "Bearer  {key}",
    "trailing blank": "Bearer {key} ",
    "quoted": 'Bearer "{key}"',
    "twice": "Bearer {key},Bearer {key}",
    "unknown": "Bearer ps_0123456789ab_" + "a" * 43,
    "another secret": "Bearer {prefix}_" + "a" * 43,
    "a longer secret": "Bearer {key}a",
    "a shorter secret": "Bearer {short}",
    "upper case": "Bearer {upper}",
    "prefix alone": "Bearer {prefix}",
    "sql": "Bearer ps_' OR 1=1 --_x",
    "control": "Bearer {key}\x00",
    "non-ascii": "Bearer \u00e9",
    "100 kB": "Bearer " + "x" * 100_000,
}


@pytest.mark.parametrize("shown", BAD_CREDENTIALS)
def test_who_has_no_valid_key_gets_the_same_401_everywhere(api: Api, shown: str) -> None:
    credentials = BAD_CREDENTIALS[shown]
    headers = {"X-Request-ID": "the-same", "Idempotency-Key": "k", "Content-Type": "application/json"}
    if credentials is not None:
        prefix = "_".join(api.key.split("_")[:2])
        headers["Authorization"] = credentials.format(
            key=api.key, prefix=prefix, short=api.key[:-1], upper=api.key.upper()
        )
    before = written_rows()
    paths = [(endpoint.method, path_of(endpoint)) for endpoint in CLOSED]
    # An unknown address and a wrong method are not told to strangers either.
    paths += [("GET", "/api/v1/nowhere"), ("DELETE", path_of(CLOSED[0])), ("GET", "/api/v1/")]

    replies = [send(method, path, headers=headers, body=b"{}") for method, path in paths]

    assert {reply.status for reply in replies} == {401}
    (body,) = {reply.body for reply in replies}
    assert json.loads(body) == {
        "type": "urn:pointsystem:problem:not_authenticated",
        "title": "Not authenticated",
        "status": 401,
        "code": "not_authenticated",
        "detail": "A valid key is needed: Authorization: Bearer KEY.",
        "request_id": "the-same",
    }
    assert all(reply.headers["www-authenticate"].startswith("Bearer") for reply in replies)
    assert written_rows() == before


def test_a_key_is_taken_whatever_the_case_of_the_scheme(api: Api, account: str) -> None:
    reply = send("GET", f"/api/v1/accounts/{account}/balance", headers={"Authorization": f"bEARER {api.key}"})

    assert reply.status == 200


def test_a_revoked_key_is_refused_within_a_second(
    api: Api, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process remembers a key for a second: the test moves that second, not the key."""
    path = f"/api/v1/accounts/{account}/balance"
    now = [1000.0]
    monkeypatch.setattr(authentication.time, "monotonic", lambda: now[0])
    assert api.get(path).status == 200

    revoke_client(name=api.name)
    now[0] += 0.5
    remembered = api.get(path)
    now[0] += 0.51
    forgotten = api.get(path)

    assert (remembered.status, forgotten.status, forgotten.code) == (200, 401, "not_authenticated")
    assert authentication.REMEMBERED_SECONDS <= 1.0


def test_an_expired_key_is_refused(api: Api, account: str) -> None:
    path = f"/api/v1/accounts/{account}/balance"
    old_key = api.key
    new_key = create_client(name=api.name, scopes=["points:read"], overlap=timedelta(hours=1)).key
    assert [Api(name=api.name, key=key).get(path).status for key in (old_key, new_key)] == [200, 200]

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_api_key SET expires_at = clock_timestamp() - interval '1 second'"
            " WHERE expires_at IS NOT NULL"
        )
    authentication.forget()

    assert [Api(name=api.name, key=key).get(path).status for key in (old_key, new_key)] == [401, 200]


def test_the_scopes_are_those_of_the_key_and_not_of_the_client(api: Api, account: str) -> None:
    narrow = create_client(name=api.name, scopes=["points:read"]).key

    reply = Api(name=api.name, key=narrow).earn(account, 10)

    assert (reply.status, reply.code) == (403, "scope_missing")
    assert api.earn(account, 10).status == 201


def test_an_operation_of_another_client_is_not_there(api: Api, account: str) -> None:
    """For every endpoint that takes the id of an operation: the same bytes as for an unknown one."""
    foreign = api.earn(account, 100).json["id"]
    stranger = Api()
    with_ids = [endpoint for endpoint in CLOSED if "{id}" in endpoint.path]
    before = written_rows()

    for endpoint in with_ids:
        bodies = set()
        for operation in (foreign, str(uuid4())):
            path = path_of(endpoint, id=operation)
            if endpoint.method == "GET":
                reply = stranger.get(path, X_Request_ID="the-same")
            else:
                body = bad_inputs.GOOD_BODIES[endpoint.name]
                reply = stranger.post(path, body, X_Request_ID="the-same")
            assert (reply.status, reply.code) == (404, "operation_not_found")
            bodies.add(reply.body)
        assert len(bodies) == 1

    assert len(with_ids) == 2
    assert written_rows() == before


def test_strangers_find_the_open_addresses_and_no_other(db: None) -> None:
    """Every path of the URL conf without credentials: only what is meant to be open answers."""
    from django.test import Client
    from django.urls import URLPattern, URLResolver, get_resolver

    def paths(patterns: list[URLPattern | URLResolver], prefix: str = "") -> list[str]:
        found = []
        for pattern in patterns:
            route = prefix + str(pattern.pattern).replace("^", "").replace("$", "")
            if isinstance(pattern, URLResolver):
                found += paths(pattern.url_patterns, route)
            else:
                found.append(route)
        return found

    answered = set()
    for route in paths(get_resolver().url_patterns):
        path = "/" + re.sub(r"<\w+:(\w+)>|\(\?P<\w+>[^)]*\)", "1", route).replace("\\Z", "")
        if Client(headers={"host": "localhost"}).get(path).status_code == 200:
            answered.add(path)

    assert answered == {
        *("/healthz", "/readyz", "/metrics", "/api/schema", "/api/docs"),
        "/admin/login/",
    }
