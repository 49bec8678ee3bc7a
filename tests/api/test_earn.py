import pytest

from ledger.models import InboxItem
from tests.api.caller import Api, written_rows


def test_an_earn_is_answered_with_its_operation(api: Api, account: str) -> None:
    reply = api.earn(
        account,
        120,
        reference="order-7",
        occurred_at="2026-03-01T11:58:00+09:00",
        metadata={"channel": "web", "items": 3, "gift": False},
    )

    assert reply.status == 201
    operation = reply.json
    lot = operation["lots"][0]["lot"]
    assert operation == {
        "id": operation["id"],
        "kind": "earn",
        "state": "completed",
        "account_number": account,
        "points": 120,
        "reason": "ORDER_REWARD",
        "reference": "order-7",
        "occurred_at": "2026-03-01T02:58:00Z",
        "recorded_at": "2026-03-01T03:00:00Z",
        "cancellable_points": 120,
        "balance_after": 120,
        "lots": [{"lot": lot, "points": 120, "expires_at": "2027-03-01T15:00:00Z"}],
        "metadata": {"channel": "web", "items": 3, "gift": False},
    }
    assert reply.headers["location"] == f"/api/v1/operations/{operation['id']}"
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert "idempotency-replayed" not in reply.headers
    assert api.available(account) == 120


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-06-01T00:00:00+09:00", "2026-05-31T15:00:00Z"),
        ("2026-06-01T00:00:00.123456Z", "2026-06-01T00:00:00.123456Z"),
        ("2026-06-01T00:00:00+14:00", "2026-05-31T10:00:00Z"),
        ("2026-06-01T00:00:00-12:00", "2026-06-01T12:00:00Z"),
        # In New York this hour does not exist, or exists twice: the offset says which instant is meant.
        ("2026-03-08T02:30:00-05:00", "2026-03-08T07:30:00Z"),
        ("2026-11-01T01:30:00-04:00", "2026-11-01T05:30:00Z"),
        (None, None),
    ],
)
def test_an_expiry_is_kept_as_the_instant_that_was_meant(
    api: Api, account: str, given: str | None, kept: str | None
) -> None:
    reply = api.earn(account, 10, expires_at=given)

    assert reply.status == 201
    assert reply.json["lots"][0]["expires_at"] == kept


def test_free_text_is_kept_literally_and_in_one_normal_form(api: Api, account: str) -> None:
    metadata = {"note": "'; DROP TABLE x; -- ${7*7} {{7*7}} ../ % _ \\ <script>", "e\u0301": "e\u0301"}

    reply = api.earn(account, 10, metadata=metadata)

    assert reply.json["metadata"] == {"note": metadata["note"], "\u00e9": "\u00e9"}
    assert api.get(reply.headers["location"]).json["metadata"] == reply.json["metadata"]


@pytest.mark.parametrize(
    ("members", "errors"),
    [
        ({"expires_at": "2026-03-01T12:00:00+09:00"}, {"expires_at": "in_the_past"}),
        ({"expires_at": "2036-03-03T12:00:00+09:00"}, {"expires_at": "too_far_ahead"}),
        ({"occurred_at": "2026-03-01T12:05:01+09:00"}, {"occurred_at": "too_far_ahead"}),
        ({"occurred_at": "2016-02-28T12:00:00+09:00"}, {"occurred_at": "too_far_back"}),
        ({"reason": "NO_SUCH_REASON"}, {"reason": "unknown_reason"}),
        ({"reason": "ORDER_PAYMENT"}, {"reason": "reason_not_allowed"}),
    ],
)
def test_what_the_clock_and_the_reasons_refuse_is_a_validation_error(
    api: Api, account: str, members: dict[str, str], errors: dict[str, str]
) -> None:
    before = written_rows()

    reply = api.earn(account, 10, **members)

    assert (reply.status, reply.code, reply.errors) == (400, "validation_failed", errors)
    assert written_rows() == before
    assert api.available(account) == 0


def test_respond_async_is_durable_before_it_is_answered(api: Api, account: str) -> None:
    body = {"points": 50, "reason": "REVIEW"}

    reply = api.post(f"/api/v1/accounts/{account}/earn", body, key="later", Prefer="respond-async, wait=5")

    assert reply.status == 202
    assert reply.headers["preference-applied"] == "respond-async"
    operation = reply.json
    assert (operation["state"], operation["points"], operation["balance_after"]) == ("accepted", 50, None)
    assert operation["lots"] is None
    assert reply.headers["location"] == f"/api/v1/operations/{operation['id']}"
    assert InboxItem.objects.filter(operation_id=operation["id"]).count() == 1
    assert api.get(reply.headers["location"]).json["state"] == "accepted"


def test_what_was_accepted_is_done_once_and_told_to_whoever_asks_again(api: Api, account: str) -> None:
    from ledger import operations

    body = {"points": 50, "reason": "REVIEW"}
    path = f"/api/v1/accounts/{account}/earn"
    accepted = api.post(path, body, key="later", Prefer="respond-async").json

    operations.drain_inbox(account_numbers=[account])
    again = api.post(path, body, key="later", Prefer="respond-async")

    assert (again.status, again.json["id"], again.json["state"]) == (201, accepted["id"], "completed")
    assert again.headers["idempotency-replayed"] == "true"
    assert "preference-applied" not in again.headers
    assert api.available(account) == 50
