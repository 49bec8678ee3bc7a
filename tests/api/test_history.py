from datetime import datetime, timedelta

import pytest

from ledger import clock
from tests.api.caller import Api


def test_history_is_newest_first_with_the_balance_after_each_line(
    api: Api, account: str, noon: datetime
) -> None:
    earned = api.earn(account, 100, reference="order-1").json
    clock.set_simulated(instant=noon + timedelta(hours=1))
    spent = api.spend(account, 30).json

    reply = api.get(f"/api/v1/accounts/{account}/history")

    assert reply.status == 200
    newest, oldest = reply.json["data"]
    assert newest == {
        "id": newest["id"],
        "operation_id": spent["id"],
        "kind": "spend",
        "points": -30,
        "balance_after": 70,
        "reason": "ORDER_PAYMENT",
        "reference": None,
        "recorded_at": "2026-03-01T04:00:00Z",
    }
    assert (oldest["operation_id"], oldest["points"], oldest["reference"]) == (earned["id"], 100, "order-1")


def test_pages_lead_there_and_back(api: Api, account: str) -> None:
    for points in range(1, 8):
        api.earn(account, points)
    path = f"/api/v1/accounts/{account}/history?page_size=3"

    first = api.get(path).json
    second = api.get(f"{path}&cursor={first['next']}").json
    third = api.get(f"{path}&cursor={second['next']}").json
    back = api.get(f"{path}&cursor={second['previous']}").json

    seen = [[line["points"] for line in page["data"]] for page in (first, second, third, back)]
    assert seen == [[7, 6, 5], [4, 3, 2], [1], [7, 6, 5]]
    assert (first["previous"], third["next"]) == (None, None)


def test_a_cursor_does_not_shift_when_something_new_happens(api: Api, account: str) -> None:
    for points in (1, 2, 3, 4):
        api.earn(account, points)
    first = api.get(f"/api/v1/accounts/{account}/history?page_size=2").json

    api.earn(account, 5)
    second = api.get(f"/api/v1/accounts/{account}/history?page_size=2&cursor={first['next']}").json

    assert [line["points"] for line in second["data"]] == [2, 1]


def test_a_never_seen_account_has_an_empty_page(api: Api, account: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/history")

    assert (reply.status, reply.json) == (200, {"data": [], "next": None, "previous": None})


@pytest.mark.parametrize("query", ["cursor=bnxhYmM", "cursor=-_-_", "state=all", "page_size=010"])
def test_the_query_is_read_strictly(api: Api, account: str, query: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/history?{query}")

    assert (reply.status, reply.code) == (400, "validation_failed")
