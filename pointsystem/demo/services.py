"""The five services of the demo, and the calls that they make."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from pointsystem.demo.traffic import Call

#: Service by service, what its API key allows.
SCOPES: Final = {
    "order": ("points:earn", "points:cancel"),
    "billing": ("points:read", "points:spend", "points:cancel"),
    "voucher": ("points:earn",),
    "front": ("points:read", "points:earn"),
    "member": ("points:read", "points:transfer"),
}


def _account(account_number: str) -> str:
    return f"/api/v1/accounts/{quote(account_number, safe='')}"


def earn(*, account_number: str, points: int, reference: str, occurred_at: datetime) -> Call:
    body = {
        "points": points,
        "reason": "ORDER_REWARD",
        "reference": reference,
        "occurred_at": occurred_at.isoformat(),
    }
    path = f"{_account(account_number)}/earn"
    return Call(name="earn", service="order", method="POST", path=path, body=body, key=f"{reference}:earn")


def earn_for_review(*, account_number: str, points: int, reference: str, expires_at: datetime) -> Call:
    """An earn that need not be done at once: the answer is 202 as soon as it cannot be lost."""
    body = {
        "points": points,
        "reason": "REVIEW",
        "reference": reference,
        "expires_at": expires_at.isoformat(),
    }
    return Call(
        name="earn, respond-async",
        service="front",
        method="POST",
        path=f"{_account(account_number)}/earn",
        body=body,
        key=f"{reference}:review",
        is_async=True,
    )


def spend(*, account_number: str, points: int, reference: str) -> Call:
    body = {"points": points, "reason": "ORDER_PAYMENT", "reference": reference}
    path = f"{_account(account_number)}/spend"
    return Call(
        name="spend", service="billing", method="POST", path=path, body=body, key=f"{reference}:spend"
    )


def cancel(*, service: str, operation_id: str, points: int | None, reference: str, what: str) -> Call:
    """Cancel `points` of an operation, or all that is left of it."""
    body: dict[str, Any] = {"reason": "ORDER_CANCELLED", "reference": reference}
    if points is not None:
        body["points"] = points
    return Call(
        name="cancel",
        service=service,
        method="POST",
        path=f"/api/v1/operations/{operation_id}/cancel",
        body=body,
        key=f"{reference}:cancel-{what}",
    )


def transfer(*, giver: str, receiver: str, points: int, reference: str) -> Call:
    body = {"from": giver, "to": receiver, "points": points, "reason": "GIFT", "reference": reference}
    return Call(
        name="transfer",
        service="member",
        method="POST",
        path="/api/v1/transfers",
        body=body,
        key=f"{reference}:gift",
    )


def event_item(*, account_number: str, points: int, expires_at: datetime, key: str) -> dict[str, Any]:
    """One item of a batch."""
    return {
        "kind": "earn",
        "idempotency_key": key,
        "account_number": account_number,
        "points": points,
        "reason": "EVENT",
        "reference": key.rpartition(":")[0],
        "expires_at": expires_at.isoformat(),
    }


def batch(items: list[dict[str, Any]]) -> Call:
    return Call(
        name="batch",
        service="voucher",
        method="POST",
        path="/api/v1/operations:batch",
        body={"operations": items},
    )


def event_earn(*, account_number: str, points: int, reference: str, expires_at: datetime) -> Call:
    body = {
        "points": points,
        "reason": "EVENT",
        "reference": reference,
        "expires_at": expires_at.isoformat(),
    }
    return Call(
        name="earn, one key at once",
        service="voucher",
        method="POST",
        path=f"{_account(account_number)}/earn",
        body=body,
        key=f"{reference}:earn",
    )


def balance(account_number: str, *, service: str = "billing") -> Call:
    return Call(name="balance", service=service, method="GET", path=f"{_account(account_number)}/balance")


def history(account_number: str, *, cursor: str | None = None) -> Call:
    query = "?page_size=200" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
    return Call(
        name="history", service="front", method="GET", path=f"{_account(account_number)}/history{query}"
    )


def operation(operation_id: str, *, service: str) -> Call:
    return Call(name="operation", service=service, method="GET", path=f"/api/v1/operations/{operation_id}")
