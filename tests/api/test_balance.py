from datetime import datetime, timedelta

import pytest
import requests

from ledger import clock
from tests.api.caller import Api


def test_a_balance_says_what_lapses_soon_and_what_first(api: Api, account: str) -> None:
    api.earn(account, 100, expires_at="2026-03-20T00:00:00Z")
    api.earn(account, 50, expires_at="2026-03-10T00:00:00Z")
    api.earn(account, 25, expires_at=None)

    reply = api.get(f"/api/v1/accounts/{account}/balance")

    assert reply.status == 200
    assert reply.json == {
        "account_number": account,
        "available": 175,
        "expiring_soon": {"points": 150, "before": "2026-03-31T15:00:00Z"},
        "next_expiry": {"points": 50, "at": "2026-03-10T00:00:00Z"},
        "as_of": "2026-03-01T03:00:00Z",
    }


def test_a_never_seen_account_has_nothing(api: Api, account: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/balance")

    assert (reply.status, reply.json["available"], reply.json["next_expiry"]) == (200, 0, None)


def test_the_past_is_read_as_it_was(api: Api, account: str, noon: datetime) -> None:
    api.earn(account, 100, expires_at="2026-03-05T00:00:00Z")
    clock.set_simulated(instant=noon + timedelta(days=1))
    api.spend(account, 30)
    clock.set_simulated(instant=noon + timedelta(days=10))

    def available(as_of: str) -> int:
        reply = api.get(f"/api/v1/accounts/{account}/balance?as_of={as_of}")
        assert reply.status == 200, reply.body
        return int(reply.json["available"])

    assert available("2026-02-28T00:00:00Z") == 0
    assert available("2026-03-01T12:00:00+09:00") == 100
    assert available("2026-03-02T12:00:00%2B09:00") == 70
    assert available("2026-03-04T23:59:59.999999Z") == 70
    assert available("2026-03-05T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("as_of=2026-03-01T12:00:01%2B09:00", {"as_of": "in_the_future"}),
        ("as_of=2026-03-01", {"as_of": "bad_format"}),
        ("as_of=2026-03-01T12:00:00", {"as_of": "bad_format"}),
        ("as_of=2026-03-01 12:00:00Z", {"as_of": "bad_format"}),
        ("as_of=", {"as_of": "bad_format"}),
        ("as_of", {"as_of": "bad_format"}),
        ("as_of=2026-03-01T00:00:00Z&as_of=2026-03-01T00:00:00Z", {"as_of": "repeated"}),
        ("at=2026-03-01T00:00:00Z", {"at": "unknown_field"}),
        ("as_of=%FF", {"query": "bad_format"}),
        ("=x", {"": "unknown_field"}),
        ("&", {"": "repeated"}),
    ],
)
def test_the_query_is_read_strictly(api: Api, account: str, query: str, errors: dict[str, str]) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/balance?{query}")

    assert (reply.status, reply.code) == (400, "validation_failed")
    assert errors.items() <= reply.errors.items()


def test_whoever_was_told_of_a_write_reads_it(committed_db: None, live_server_url: str, account: str) -> None:
    """Through the real server, whose processes keep balances in Redis."""
    client = Api()
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {client.key}"
        for points in range(1, 21):
            earned = session.post(
                f"{live_server_url}/api/v1/accounts/{account}/earn",
                json={"points": points, "reason": "EVENT"},
                headers={"Idempotency-Key": f"{account}-{points}"},
                timeout=10,
            )
            assert earned.status_code == 201, earned.text
            read = session.get(f"{live_server_url}/api/v1/accounts/{account}/balance", timeout=10).json()
            assert read["available"] == points * (points + 1) // 2
