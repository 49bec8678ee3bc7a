from uuid import uuid4

from tests.api.caller import Api, written_rows


def test_a_spend_is_cancelled_whole_when_no_points_are_given(api: Api, account: str) -> None:
    lot = api.earn(account, 100, expires_at=None).json["lots"][0]["lot"]
    spent = api.spend(account, 60).json

    reply = api.cancel(spent["id"], reference="return-1")

    operation = reply.json
    assert reply.status == 201
    assert operation == {
        "id": operation["id"],
        "kind": "spend_cancel",
        "state": "completed",
        "account_number": account,
        "points": 60,
        "reason": "ORDER_CANCELLED",
        "reference": "return-1",
        "occurred_at": None,
        "recorded_at": "2026-03-01T03:00:00Z",
        "cancels": spent["id"],
        "cancellable_points": 0,
        "balance_after": 100,
        "lots": [{"lot": lot, "points": 60, "expires_at": None}],
        "metadata": None,
    }
    assert api.available(account) == 100


def test_an_earn_is_cancelled_in_parts_until_nothing_is_left(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json

    first = api.cancel(earned["id"], points=30)
    found = api.get(f"/api/v1/operations/{earned['id']}").json
    rest = api.cancel(earned["id"])
    more = api.cancel(earned["id"])

    assert (first.status, first.json["kind"], first.json["balance_after"]) == (201, "earn_cancel", 70)
    assert found["cancellable_points"] == 70
    assert (rest.json["points"], rest.json["balance_after"]) == (70, 0)
    assert (more.status, more.code) == (409, "not_cancellable")
    assert api.available(account) == 0


def test_points_of_an_earn_that_were_spent_are_taken_elsewhere_or_reported(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json
    api.spend(account, 80)

    reply = api.cancel(earned["id"])

    assert reply.status == 201
    assert (reply.json["points"], reply.json["uncollected_points"]) == (100, 80)
    assert reply.json["balance_after"] == 0


def test_a_cancel_and_a_transfer_cannot_be_cancelled(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json
    cancelled = api.cancel(earned["id"], points=10).json
    gift = api.transfer(account, f"{account}.friend", 10).json

    replies = [api.cancel(operation["id"]) for operation in (cancelled, gift)]

    assert [(reply.status, reply.code) for reply in replies] == [(409, "not_cancellable")] * 2
    assert api.available(account) == 80


def test_an_unknown_a_foreign_and_a_malformed_operation_are_the_same_404(api: Api, account: str) -> None:
    foreign = Api().earn(account, 100).json["id"]
    before = written_rows()

    replies = [
        api.cancel(operation)
        for operation in (foreign, str(uuid4()), "1", "urn:uuid:" + str(uuid4()), foreign.upper())
    ]

    assert {(reply.status, reply.code) for reply in replies} == {(404, "operation_not_found")}
    bodies = {reply.body.replace(reply.json["request_id"].encode(), b"ID") for reply in replies}
    assert len(bodies) == 1
    assert written_rows() == before


def test_operations_any_cancels_for_others(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json
    support = Api(scopes=["points:cancel", "operations:any"])

    reply = support.cancel(earned["id"])

    assert (reply.status, reply.json["balance_after"]) == (201, 0)


def test_a_null_does_not_mean_everything(api: Api, account: str) -> None:
    earned = api.earn(account, 100).json

    reply = api.cancel(earned["id"], points=None)

    assert (reply.status, reply.errors) == (400, {"points": "wrong_type"})
    assert api.available(account) == 100


def test_respond_async_takes_a_cancel_into_the_inbox(api: Api, account: str) -> None:
    from ledger import operations

    earned = api.earn(account, 100).json

    reply = api.post(f"/api/v1/operations/{earned['id']}/cancel", {"points": 40}, Prefer="respond-async")

    assert (reply.status, reply.json["state"], reply.json["cancels"]) == (202, "accepted", earned["id"])
    assert reply.headers["preference-applied"] == "respond-async"
    operations.drain_inbox(account_numbers=[account])
    assert api.get(reply.headers["location"]).json["state"] == "completed"
    assert api.available(account) == 60
