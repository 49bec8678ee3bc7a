from typing import Any

import pytest

from tests.api.caller import Api, send

NOWHERE = "redis://127.0.0.1:1/0"


def test_healthz_answers_without_asking_anybody() -> None:
    """No database fixture: pytest-django would refuse a query."""
    reply = send("GET", "/healthz")

    assert (reply.status, reply.json) == (200, {"status": "alive"})


def test_readyz_is_ready_when_all_servers_answer(db: None) -> None:
    reply = send("GET", "/readyz")

    assert (reply.status, reply.json) == (200, {"status": "ready", "down": []})


def test_without_redis_the_product_is_degraded_and_serves(db: None, settings: Any) -> None:
    from django.core.cache import caches

    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": NOWHERE},
    }
    settings.CELERY_BROKER_URL = NOWHERE
    try:
        reply = send("GET", "/readyz")
    finally:
        # django-redis keeps the client of these settings.
        del caches["default"]

    assert (reply.status, reply.json) == (200, {"status": "degraded", "down": ["redis", "broker"]})


def test_metrics_are_counted_by_endpoint_and_status(api: Api, account: str) -> None:
    def value(line: str) -> float:
        reply = send("GET", "/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain")
        for text in reply.body.decode().splitlines():
            if text.startswith(line):
                return float(text.rpartition(" ")[2])
        return 0.0

    earns = 'points_api_request_seconds_count{endpoint="earn",status="201"}'
    refusals = 'points_api_problems_total{code="insufficient_points"}'
    before = value(earns), value(refusals), value("points_api_replays_total")

    api.earn(account, 10, key="k")
    api.earn(account, 10, key="k")
    api.spend(account, 11)

    after = value(earns), value(refusals), value("points_api_replays_total")
    assert after == (before[0] + 2, before[1] + 1, before[2] + 1)


def test_what_waits_is_told(api: Api, account: str) -> None:
    def value(name: str) -> float:
        lines = send("GET", "/metrics").body.decode().splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.rpartition(" ")[2])

    before = value("points_inbox_waiting"), value("points_stale_balances_waiting")
    path = f"/api/v1/accounts/{account}/earn"
    api.post(path, {"points": 5, "reason": "EVENT"}, Prefer="respond-async")
    api.earn(f"{account}.2", 5)

    assert value("points_inbox_waiting") == before[0] + 1
    assert value("points_stale_balances_waiting") == before[1] + 1
    assert value("points_inbox_oldest_seconds") >= 0
    assert value("points_stale_balances_oldest_seconds") >= 0


@pytest.mark.parametrize(
    ("remote_address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.7", {}, 401),
        ("", {}, 401),
        ("10.0.0.7", {"Authorization": "Bearer a-token-for-the-scraper"}, 200),
        ("10.0.0.7", {"Authorization": "Bearer another"}, 401),
        # A proxy on this machine speaks for others.
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 401),
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}, 401),
        # What a client says of itself opens nothing.
        ("10.0.0.7", {"X-Forwarded-For": "127.0.0.1"}, 401),
    ],
)
def test_metrics_are_for_loopback_or_a_token(
    db: None, settings: Any, remote_address: str, headers: dict[str, str], status: int
) -> None:
    settings.METRICS_TOKEN = "a-token-for-the-scraper"

    reply = send("GET", "/metrics", headers=headers, remote_address=remote_address)

    assert reply.status == status


def test_without_a_token_nobody_from_outside_reads_metrics(settings: Any) -> None:
    settings.METRICS_TOKEN = ""

    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
        assert send("GET", "/metrics", headers=headers, remote_address="10.0.0.7").status == 401
