from tests.api.caller import Api, written_rows


def test_a_gift_keeps_the_expiry_and_goes_whole(api: Api, account: str) -> None:
    friend = f"{account}.friend"
    lot = api.earn(account, 100, expires_at="2026-06-01T00:00:00Z").json["lots"][0]["lot"]

    reply = api.transfer(account, friend, 40, reference="birthday")

    operation = reply.json
    assert reply.status == 201
    assert operation == {
        "id": operation["id"],
        "kind": "transfer",
        "state": "completed",
        "account_number": account,
        "to_account_number": friend,
        "points": 40,
        "reason": "GIFT",
        "reference": "birthday",
        "occurred_at": None,
        "recorded_at": "2026-03-01T03:00:00Z",
        "cancellable_points": 0,
        "balance_after": 60,
        "lots": [{"lot": lot, "points": 40, "expires_at": "2026-06-01T00:00:00Z"}],
        "metadata": None,
    }
    (theirs,) = api.get(f"/api/v1/accounts/{friend}/lots").json["data"]
    assert (theirs["remaining"], theirs["expires_at"], theirs["origin"]) == (40, "2026-06-01T00:00:00Z", lot)
    assert (api.available(account), api.available(friend)) == (60, 40)


def test_more_than_there_is_cannot_be_given(api: Api, account: str) -> None:
    api.earn(account, 10)

    reply = api.transfer(account, f"{account}.friend", 11)

    assert (reply.status, reply.code) == (422, "insufficient_points")
    assert (api.available(account), api.available(f"{account}.friend")) == (10, 0)


def test_nobody_gives_to_themselves(api: Api, account: str) -> None:
    api.earn(account, 10)
    before = written_rows()

    reply = api.transfer(account, account, 5)

    assert (reply.status, reply.code) == (400, "validation_failed")
    assert written_rows() == before
