from tests.api.caller import Api, written_rows


def test_a_spend_takes_the_lots_that_expire_soonest(api: Api, account: str) -> None:
    late = api.earn(account, 100, expires_at="2026-12-01T00:00:00Z").json["lots"][0]["lot"]
    soon = api.earn(account, 30, expires_at="2026-04-01T00:00:00Z").json["lots"][0]["lot"]

    reply = api.spend(account, 50, reference="order-8", metadata={"till": 4})

    assert reply.status == 201
    operation = reply.json
    assert operation == {
        "id": operation["id"],
        "kind": "spend",
        "state": "completed",
        "account_number": account,
        "points": 50,
        "reason": "ORDER_PAYMENT",
        "reference": "order-8",
        "occurred_at": None,
        "recorded_at": "2026-03-01T03:00:00.000001Z",
        "cancellable_points": 50,
        "balance_after": 80,
        "lots": [
            {"lot": soon, "points": 30, "expires_at": "2026-04-01T00:00:00Z"},
            {"lot": late, "points": 20, "expires_at": "2026-12-01T00:00:00Z"},
        ],
        "metadata": {"till": 4},
    }
    assert reply.headers["location"] == f"/api/v1/operations/{operation['id']}"
    assert api.available(account) == 80


def test_points_that_are_not_there_cannot_be_spent(api: Api, account: str) -> None:
    api.earn(account, 10)

    reply = api.spend(account, 11)

    problem = reply.json
    assert (reply.status, reply.code) == (422, "insufficient_points")
    assert problem == {
        "type": "urn:pointsystem:problem:insufficient_points",
        "title": "Insufficient points",
        "status": 422,
        "code": "insufficient_points",
        "detail": "10 points are available.",
        "request_id": problem["operation_id"],
        "operation_id": problem["operation_id"],
    }
    assert api.available(account) == 10
    # The refusal is the outcome of an operation, which can be found.
    found = api.get(f"/api/v1/operations/{problem['operation_id']}").json
    assert (found["state"], found["points"], found["cancellable_points"]) == ("failed", 11, 0)
    assert found["refusal"] == {"code": "insufficient_points", "detail": "10 points are available."}


def test_a_never_seen_account_has_nothing_to_spend(api: Api, account: str) -> None:
    reply = api.spend(account, 1)

    assert (reply.status, reply.code) == (422, "insufficient_points")
    assert api.get(f"/api/v1/accounts/{account}/history").json["data"] == []


def test_a_blocked_account_cannot_spend(api: Api, account: str) -> None:
    from ledger import operations
    from ledger.models import AccountStatus

    api.earn(account, 10)
    operations.change_account_status(
        account_number=account, status=AccountStatus.BLOCKED, note="a doubt", actor="lee"
    )

    reply = api.spend(account, 1)

    assert (reply.status, reply.code) == (422, "account_blocked")
    assert api.available(account) == 10


def test_a_spend_has_no_respond_async(api: Api, account: str) -> None:
    api.earn(account, 10)

    reply = api.post(
        f"/api/v1/accounts/{account}/spend",
        {"points": 4, "reason": "ORDER_PAYMENT"},
        Prefer="respond-async",
    )

    assert (reply.status, reply.json["state"]) == (201, "completed")
    assert "preference-applied" not in reply.headers


def test_a_spend_has_no_expiry(api: Api, account: str) -> None:
    before = written_rows()

    reply = api.spend(account, 1, expires_at=None)

    assert (reply.status, reply.errors) == (400, {"expires_at": "unknown_field"})
    assert written_rows() == before
