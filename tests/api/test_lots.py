from datetime import datetime, timedelta

import pytest

from ledger import clock
from tests.api.caller import Api


def test_lots_stand_in_the_order_of_spending(api: Api, account: str) -> None:
    never = api.earn(account, 1, expires_at=None).json["lots"][0]["lot"]
    late = api.earn(account, 2, expires_at="2026-09-01T00:00:00Z").json["lots"][0]["lot"]
    soon = api.earn(account, 3, expires_at="2026-04-01T00:00:00Z", reason="REVIEW").json["lots"][0]["lot"]
    api.spend(account, 1)

    reply = api.get(f"/api/v1/accounts/{account}/lots")

    assert reply.status == 200
    assert [lot["id"] for lot in reply.json["data"]] == [soon, late, never]
    assert reply.json["data"][0] == {
        "id": soon,
        "points": 3,
        "remaining": 2,
        "earned_at": "2026-03-01T03:00:00.000002Z",
        "expires_at": "2026-04-01T00:00:00Z",
        "reason": "REVIEW",
        "origin": None,
    }
    assert (reply.json["next"], reply.json["previous"]) == (None, None)


def test_used_up_and_lapsed_lots_are_shown_with_all(api: Api, account: str, noon: datetime) -> None:
    api.earn(account, 1, expires_at="2026-03-02T00:00:00Z")
    api.earn(account, 2, expires_at="2026-03-03T00:00:00Z")
    api.earn(account, 3, expires_at=None)
    api.spend(account, 1)
    clock.set_simulated(instant=noon + timedelta(days=5))

    live = api.get(f"/api/v1/accounts/{account}/lots").json["data"]
    everything = api.get(f"/api/v1/accounts/{account}/lots?state=all").json["data"]

    assert [(lot["points"], lot["remaining"]) for lot in live] == [(3, 3)]
    assert [(lot["points"], lot["remaining"]) for lot in everything] == [(1, 0), (2, 0), (3, 3)]


@pytest.mark.parametrize("state", ["live", "all"])
def test_pages_lead_there_and_back(api: Api, account: str, state: str) -> None:
    for day in range(1, 8):
        api.earn(account, day, expires_at=f"2026-05-0{day}T00:00:00Z")
    for points in (8, 9):
        api.earn(account, points, expires_at=None)
    path = f"/api/v1/accounts/{account}/lots?state={state}&page_size=4"

    first = api.get(path).json
    second = api.get(f"{path}&cursor={first['next']}").json
    third = api.get(f"{path}&cursor={second['next']}").json
    back = api.get(f"{path}&cursor={third['previous']}").json

    seen = [[lot["points"] for lot in page["data"]] for page in (first, second, third, back)]
    assert seen == [[1, 2, 3, 4], [5, 6, 7, 8], [9], [5, 6, 7, 8]]
    assert (first["previous"], third["next"]) == (None, None)


def test_a_never_seen_account_has_an_empty_page(api: Api, account: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/lots")

    assert (reply.status, reply.json) == (200, {"data": [], "next": None, "previous": None})


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("page_size=0", {"page_size": "bad_format"}),
        ("page_size=-1", {"page_size": "bad_format"}),
        ("page_size=201", {"page_size": "bad_format"}),
        ("page_size=1000000000", {"page_size": "bad_format"}),
        ("page_size=1e2", {"page_size": "bad_format"}),
        ("page_size=%D9%A1", {"page_size": "bad_format"}),
        ("page_size=", {"page_size": "bad_format"}),
        ("state=dead", {"state": "bad_format"}),
        ("state=", {"state": "bad_format"}),
        ("cursor=", {"cursor": "bad_format"}),
        ("cursor=a%20b", {"cursor": "bad_format"}),
        ("cursor=bnwxMg", {"cursor": "invalid"}),
        ("cursor=AAAA", {"cursor": "invalid"}),
        ("cursor=" + "A" * 600, {"cursor": "bad_format"}),
        ("order_by=client__api_keys__digest", {"order_by": "unknown_field"}),
        ("user__password=x", {"user__password": "unknown_field"}),
    ],
)
def test_the_query_is_read_strictly(api: Api, account: str, query: str, errors: dict[str, str]) -> None:
    api.earn(account, 1)

    reply = api.get(f"/api/v1/accounts/{account}/lots?{query}")

    assert (reply.status, reply.code, reply.errors) == (400, "validation_failed", errors)


def test_a_page_has_200_rows_at_most(api: Api, account: str) -> None:
    items = [
        {
            "kind": "earn",
            "idempotency_key": f"{account}-{number}",
            "account_number": account,
            "points": 1,
            "reason": "EVENT",
        }
        for number in range(201)
    ]
    api.post("/api/v1/operations:batch", {"operations": items}, key=None)

    page = api.get(f"/api/v1/accounts/{account}/lots?page_size=200").json
    by_default = api.get(f"/api/v1/accounts/{account}/lots").json

    assert (len(page["data"]), len(by_default["data"])) == (200, 50)
    assert page["next"] is not None
