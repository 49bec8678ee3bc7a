from typing import Any

from ledger.models import Operation
from tests.api.caller import Api, written_rows
from tests.factories import idempotency_key


def item(kind: str, **members: Any) -> dict[str, Any]:
    reason = {"earn": "ORDER_REWARD", "spend": "ORDER_PAYMENT", "transfer": "GIFT"}.get(kind)
    return {
        "kind": kind,
        "idempotency_key": idempotency_key(),
        **({"reason": reason} if reason else {}),
        **members,
    }


def post(api: Api, *items: Any) -> list[dict[str, Any]]:
    reply = api.post("/api/v1/operations:batch", {"operations": list(items)}, key=None)
    assert reply.status == 200, reply.body
    results: list[dict[str, Any]] = reply.json["results"]
    assert len(results) == len(items)
    return results


def test_items_are_done_in_order_each_with_its_own_effect(api: Api, account: str) -> None:
    earned = api.earn(account, 5).json["id"]
    friend = f"{account}.friend"

    results = post(
        api,
        item("earn", account_number=account, points=100, reference="order-1"),
        item("spend", account_number=account, points=1000),
        item("spend", account_number=account, points=70),
        item("transfer", **{"from": account, "to": friend}, points=10),
        item("cancel", operation_id=earned),
    )

    assert [result["status"] for result in results] == [201, 422, 201, 201, 201]
    assert results[0]["operation"]["reference"] == "order-1"
    assert results[1]["problem"]["code"] == "insufficient_points"
    assert results[1]["problem"]["detail"] == "105 points are available."
    assert [results[i]["operation"]["balance_after"] for i in (0, 2, 3, 4)] == [105, 35, 25, 20]
    assert (api.available(account), api.available(friend)) == (20, 10)


def test_what_is_wrong_with_one_item_is_the_problem_of_that_item(api: Api, account: str) -> None:
    good = item("earn", account_number=account, points=10)

    results = post(
        api,
        item("earn", account_number="a b", points=0, colour="red"),
        item("adjust", account_number=account, points=10),
        {"idempotency_key": "k", "points": 1},
        {**good, "idempotency_key": ""},
        item("cancel", operation_id="{5}"),
        item("cancel", operation_id="01980a0b-7c1d-7e2f-8a3b-4c5d6e7f8091"),
        5,
        ["earn"],
        None,
        {**good, "kind": ["earn"]},
        good,
    )

    assert [result["status"] for result in results] == [400, 400, 400, 400, 400, 404, 400, 400, 400, 400, 201]
    problem = results[0]["problem"]
    assert problem["code"] == "validation_failed"
    assert [(error["field"], error["code"]) for error in problem["errors"]] == [
        ("colour", "unknown_field"),
        ("points", "out_of_range"),
        ("account_number", "bad_format"),
    ]
    fields = [result["problem"]["errors"][0]["field"] for result in results[1:5]]
    assert fields == ["kind", "kind", "idempotency_key", "operation_id"]
    assert results[5]["problem"]["code"] == "operation_not_found"
    assert api.available(account) == 10


def test_a_problem_of_an_item_has_the_shape_of_any_other(api: Api, account: str) -> None:
    (refused,) = post(api, item("spend", account_number=account, points=7))
    alone = api.spend(account, 7).json

    assert set(refused["problem"]) == set(alone)
    assert refused == {"status": 422, "problem": refused["problem"]}
    assert refused["problem"]["request_id"] == refused["problem"]["operation_id"]


def test_a_key_that_stands_twice_is_refused_the_second_time(api: Api, account: str) -> None:
    first = item("earn", account_number=account, points=10)

    results = post(api, first, first, {**first, "points": 20})

    assert [result["status"] for result in results] == [201, 422, 422]
    assert [result["problem"]["code"] for result in results[1:]] == ["idempotency_key_reused"] * 2
    assert api.available(account) == 10


def test_a_batch_sent_again_gives_the_first_outcomes(api: Api, account: str) -> None:
    items = [
        item("earn", account_number=account, points=10),
        item("spend", account_number=account, points=100),
        item("spend", account_number=account, points=3),
    ]

    first = post(api, *items)
    again = post(api, *items)

    assert again == first
    assert api.available(account) == 7


def test_a_key_of_a_batch_is_the_same_key_alone(api: Api, account: str) -> None:
    (result,) = post(api, item("earn", account_number=account, points=10, idempotency_key="shared, key"))

    alone = api.earn(account, 10, key='"shared, key"')
    other = api.earn(account, 11, key='"shared, key"')

    assert (alone.status, alone.json) == (201, result["operation"])
    assert alone.headers["idempotency-replayed"] == "true"
    assert other.code == "idempotency_key_reused"


def test_each_item_needs_the_scope_of_its_kind(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json["id"]
    earner = Api(scopes=["points:earn"])

    results = post(
        earner,
        item("earn", account_number=account, points=1),
        item("spend", account_number=account, points=1),
        item("transfer", **{"from": account, "to": "x"}, points=1),
        item("cancel", operation_id=earned),
    )

    assert [result["status"] for result in results] == [201, 403, 403, 403]
    assert results[1]["problem"]["code"] == "scope_missing"
    assert "points:spend" in results[1]["problem"]["detail"]
    assert api.available(account) == 101


def test_the_operation_of_another_client_is_cancelled_by_operations_any_alone(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json["id"]

    foreign = post(Api(scopes=["points:cancel"]), item("cancel", operation_id=earned))
    support = post(Api(scopes=["points:cancel", "operations:any"]), item("cancel", operation_id=earned))

    assert [result["status"] for result in (*foreign, *support)] == [404, 201]


def test_a_thousand_items_go_at_once_and_one_more_does_not(api: Api, account: str) -> None:
    items = [item("earn", account_number=account, points=1) for _ in range(1000)]

    results = post(api, *items)
    before = written_rows()
    more = api.post("/api/v1/operations:batch", {"operations": [*items, items[0]]}, key=None)

    assert {result["status"] for result in results} == {201}
    assert Operation.objects.filter(account_number=account).count() == 1000
    assert api.available(account) == 1000
    assert (more.status, more.errors) == (400, {"operations": "bad_value"})
    assert written_rows() == before


def test_the_batch_itself_is_read_strictly(api: Api) -> None:
    before = written_rows()

    replies = [
        api.post("/api/v1/operations:batch", body, key=None)
        for body in ({}, {"operations": []}, {"operations": {}}, {"operations": [{}], "atomic": True})
    ]
    too_large = api.post("/api/v1/operations:batch", b" " * (2 * 1024 * 1024 + 1), key=None)

    assert [(reply.status, reply.errors) for reply in replies] == [
        (400, {"operations": "missing"}),
        (400, {"operations": "bad_value"}),
        (400, {"operations": "wrong_type"}),
        (400, {"atomic": "unknown_field"}),
    ]
    assert (too_large.status, too_large.code) == (413, "payload_too_large")
    assert written_rows() == before
