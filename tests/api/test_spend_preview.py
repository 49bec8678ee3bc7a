from tests.api.caller import Api, written_rows


def test_a_preview_shows_what_a_spend_would_take_and_writes_nothing(api: Api, account: str) -> None:
    late = api.earn(account, 100, expires_at="2026-12-01T00:00:00Z").json["lots"][0]["lot"]
    soon = api.earn(account, 30, expires_at="2026-04-01T00:00:00Z").json["lots"][0]["lot"]
    before = written_rows()

    reply = api.post(f"/api/v1/accounts/{account}/spend/preview", {"points": 50}, key=None)

    assert reply.status == 200
    assert reply.json == {
        "account_number": account,
        "points": 50,
        "lots": [
            {"lot": soon, "points": 30, "expires_at": "2026-04-01T00:00:00Z"},
            {"lot": late, "points": 20, "expires_at": "2026-12-01T00:00:00Z"},
        ],
        "available": 130,
        "available_after": 80,
    }
    assert written_rows() == before
    assert api.spend(account, 50).json["lots"] == reply.json["lots"]


def test_the_body_of_a_spend_may_be_sent_as_it_is(api: Api, account: str) -> None:
    api.earn(account, 10)
    body = {"points": 4, "reason": "ORDER_PAYMENT", "reference": "o-1", "metadata": {"a": 1}}

    reply = api.post(f"/api/v1/accounts/{account}/spend/preview", body, key=None)

    assert (reply.status, reply.json["available_after"]) == (200, 6)


def test_what_a_spend_would_refuse_the_preview_refuses_too(api: Api, account: str) -> None:
    api.earn(account, 10)
    before = written_rows()

    reply = api.post(f"/api/v1/accounts/{account}/spend/preview", {"points": 11}, key=None)

    assert (reply.status, reply.code) == (422, "insufficient_points")
    assert "operation_id" not in reply.json
    assert written_rows() == before
