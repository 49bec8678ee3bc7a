import json
from uuid import uuid4

import pytest

from tests.api.caller import Api


def test_an_operation_is_found_as_it_stands(api: Api, account: str) -> None:
    earned = api.earn(account, 100, reference="order-1").json
    api.cancel(earned["id"], points=25)

    found = api.get(f"/api/v1/operations/{earned['id']}")

    assert found.status == 200
    assert found.json == {**earned, "cancellable_points": 75}


def test_an_unknown_a_foreign_and_a_malformed_id_give_the_same_bytes(api: Api, account: str) -> None:
    foreign = Api().earn(account, 100).json["id"]

    replies = [
        api.get(f"/api/v1/operations/{operation}", X_Request_ID="the-same")
        for operation in (foreign, str(uuid4()), "5", "true", foreign.replace("-", ""), f"{{{foreign}}}")
    ]

    assert {reply.status for reply in replies} == {404}
    (body,) = {reply.body for reply in replies}
    assert json.loads(body) == {
        "type": "urn:pointsystem:problem:operation_not_found",
        "title": "Operation not found",
        "status": 404,
        "code": "operation_not_found",
        "detail": "There is no such operation.",
        "request_id": "the-same",
    }


def test_operations_any_finds_those_of_others(api: Api, account: str) -> None:
    earned = api.earn(account, 100, reference="order-9").json
    support = Api(scopes=["points:read", "operations:any"])

    found = support.get(f"/api/v1/operations/{earned['id']}")
    by_reference = support.get("/api/v1/operations?reference=order-9")

    assert found.json == earned
    assert by_reference.json["data"] == [earned]


def test_the_operations_of_a_reference_come_in_pages_oldest_first(api: Api, account: str) -> None:
    made = [api.earn(account, points, reference="order-2").json for points in (1, 2, 3, 4, 5)]
    api.earn(account, 6, reference="order-3")
    Api().earn(account, 7, reference="order-2")

    first = api.get("/api/v1/operations?reference=order-2&page_size=2").json
    second = api.get(f"/api/v1/operations?reference=order-2&page_size=2&cursor={first['next']}").json
    third = api.get(f"/api/v1/operations?reference=order-2&page_size=2&cursor={second['next']}").json
    back = api.get(f"/api/v1/operations?reference=order-2&page_size=2&cursor={third['previous']}").json

    assert [first["data"], second["data"], third["data"]] == [made[:2], made[2:4], made[4:]]
    assert (first["previous"], third["next"]) == (None, None)
    assert back["data"] == made[2:4]


def test_an_unknown_reference_is_an_empty_page(api: Api) -> None:
    reply = api.get("/api/v1/operations?reference=never-seen")

    assert (reply.status, reply.json) == (200, {"data": [], "next": None, "previous": None})


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("", {"reference": "missing"}),
        ("?reference=", {"reference": "bad_format"}),
        ("?reference=a&reference=b", {"reference": "repeated"}),
        ("?reference=a%00b", {"reference": "bad_format"}),
        ("?reference=a&cursor=zzz", {"cursor": "invalid"}),
        ("?reference=a&client__name=x", {"client__name": "unknown_field"}),
        ("?reference=a&page_size=201", {"page_size": "bad_format"}),
    ],
)
def test_the_query_is_read_strictly(api: Api, query: str, errors: dict[str, str]) -> None:
    reply = api.get(f"/api/v1/operations{query}")

    assert (reply.status, reply.code, reply.errors) == (400, "validation_failed", errors)
