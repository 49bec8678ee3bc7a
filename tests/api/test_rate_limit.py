import threading

import pytest
import requests
from django_redis import get_redis_connection

from ledger.clients import create_client
from pointsystem.api import authentication
from tests.api.caller import ALL_SCOPES, Api, send, written_rows


@pytest.fixture
def limited(noon: object) -> Api:
    made = Api()
    authentication.forget()
    made.key = create_client(name=made.name, scopes=ALL_SCOPES, requests_per_minute=3).key
    return made


def test_requests_beyond_the_limit_are_refused_and_told_when_to_come_back(limited: Api, account: str) -> None:
    replies = [limited.get(f"/api/v1/accounts/{account}/balance") for _ in range(3)]
    before = written_rows()

    refused = limited.earn(account, 10)

    assert [reply.status for reply in replies] == [200, 200, 200]
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert written_rows() == before


def test_a_refused_request_counts_whatever_it_is(limited: Api) -> None:
    """The limit stands before the address, so that probing is no cheaper than asking."""
    replies = [limited.get("/api/v1/nowhere") for _ in range(4)]

    assert [reply.status for reply in replies] == [404, 404, 404, 429]


def test_the_minute_ends(limited: Api, account: str) -> None:
    for _ in range(4):
        last = limited.get(f"/api/v1/accounts/{account}/balance")
    key = f"points:rate:{_client_id(limited)}"
    assert last.status == 429
    assert 0 < get_redis_connection("default").pttl(key) <= 60_000

    get_redis_connection("default").delete(key)

    assert limited.get(f"/api/v1/accounts/{account}/balance").status == 200


def test_a_client_without_a_limit_is_not_counted(api: Api, account: str) -> None:
    api.get(f"/api/v1/accounts/{account}/balance")

    assert get_redis_connection("default").exists(f"points:rate:{_client_id(api)}") == 0


def test_without_redis_nobody_is_refused(limited: Api, account: str, settings: pytest.FixtureRequest) -> None:
    from django.core.cache import caches

    def uncounted() -> float:
        lines = send("GET", "/metrics").body.decode().splitlines()
        values = [line for line in lines if line.startswith("points_api_rate_limit_uncounted_total")]
        return float(values[0].rpartition(" ")[2]) if values else 0.0

    before = uncounted()
    settings.CACHES = {  # type: ignore[attr-defined]
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"},  # type: ignore[attr-defined]
    }
    try:
        replies = [limited.get(f"/api/v1/accounts/{account}/lots") for _ in range(5)]
    finally:
        del caches["default"]

    assert [reply.status for reply in replies] == [200] * 5
    assert uncounted() == before + 5


def test_a_thousand_requests_at_once_do_not_slip_through(committed_db: None, live_server_url: str) -> None:
    """Two server processes, 16 connections, a random X-Forwarded-For each: 100 are allowed, and no more."""
    client = Api(scopes=["points:read"])
    key = create_client(name=client.name, scopes=["points:read"], requests_per_minute=100).key
    statuses: list[int] = []

    def ask(connection: int) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {key}"
            for number in range(63):
                headers = {"X-Forwarded-For": f"203.0.{connection}.{number}"}
                url = f"{live_server_url}/api/v1/accounts/nobody/history"
                statuses.append(session.get(url, headers=headers, timeout=20).status_code)

    threads = [threading.Thread(target=ask, args=(connection,)) for connection in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(statuses) == 1008
    assert statuses.count(200) == 100
    assert statuses.count(429) == 908


def _client_id(client: Api) -> int:
    from ledger.models import Client

    return Client.objects.get(name=client.name).id
