"""The five services of the demo, and the calls of the API that they make."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from pointsystem.demo.traffic import Call

#: Service by service, what its API key allows.
SCOPES: Final = {
    "order": ("points:read", "points:earn", "points:cancel"),
    "billing": ("points:read", "points:spend", "points:cancel"),
    "voucher": ("points:read", "points:earn"),
    "front": ("points:read", "points:earn"),
    "member": ("points:read", "points:earn", "points:transfer"),
    # Customers of the shop itself, who come and go all day long.
    "till": ("points:read", "points:earn", "points:spend", "points:cancel"),
}


def _account(account_number: str) -> str:
    return f"/api/v1/accounts/{quote(account_number, safe='')}"


def earn(
    *,
    service: str,
    account_number: str,
    points: int,
    reason: str,
    reference: str,
    key: str,
    expires_at: datetime | None = None,
    occurred_at: datetime | None = None,
    is_async: bool = False,
    name: str = "earn",
) -> Call:
    """With `is_async` the answer is 202 as soon as the earn cannot be lost; it is done a moment later."""
    body: dict[str, Any] = {"points": points, "reason": reason, "reference": reference}
    if expires_at is not None:
        body["expires_at"] = expires_at.isoformat()
    if occurred_at is not None:
        body["occurred_at"] = occurred_at.isoformat()
    return Call(
        name="earn, respond-async" if is_async else name,
        service=service,
        method="POST",
        path=f"{_account(account_number)}/earn",
        body=body,
        key=key,
        is_async=is_async,
    )


def spend(*, service: str, account_number: str, points: int, reference: str, key: str) -> Call:
    body = {"points": points, "reason": "ORDER_PAYMENT", "reference": reference}
    path = f"{_account(account_number)}/spend"
    return Call(name="spend", service=service, method="POST", path=path, body=body, key=key)


def cancel(*, service: str, operation_id: str, points: int | None, reference: str, key: str) -> Call:
    """Cancel `points` of an operation, or all that is left of it."""
    body: dict[str, Any] = {"reason": "ORDER_CANCELLED", "reference": reference}
    if points is not None:
        body["points"] = points
    path = f"/api/v1/operations/{operation_id}/cancel"
    return Call(name="cancel", service=service, method="POST", path=path, body=body, key=key)


def transfer(*, giver: str, receiver: str, points: int, reference: str) -> Call:
    body = {"from": giver, "to": receiver, "points": points, "reason": "GIFT", "reference": reference}
    path = "/api/v1/transfers"
    return Call(
        name="transfer", service="member", method="POST", path=path, body=body, key=f"{reference}:gift"
    )


def event_item(
    *, account_number: str, points: int, reference: str, expires_at: datetime, key: str
) -> dict[str, Any]:
    """One item of a batch."""
    return {
        "kind": "earn",
        "idempotency_key": key,
        "account_number": account_number,
        "points": points,
        "reason": "EVENT",
        "reference": reference,
        "expires_at": expires_at.isoformat(),
    }


def batch(items: list[dict[str, Any]]) -> Call:
    path = "/api/v1/operations:batch"
    return Call(name="batch", service="voucher", method="POST", path=path, body={"operations": items})


def balance(account_number: str, *, service: str) -> Call:
    return Call(name="balance", service=service, method="GET", path=f"{_account(account_number)}/balance")


def history(account_number: str, *, cursor: str | None = None) -> Call:
    query = "?page_size=200" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
    path = f"{_account(account_number)}/history{query}"
    return Call(name="history", service="front", method="GET", path=path)


def operation(operation_id: str, *, service: str) -> Call:
    return Call(name="operation", service=service, method="GET", path=f"/api/v1/operations/{operation_id}")


def find(reference: str, *, service: str) -> Call:
    """The operations with a reference: how a service finds what it did through a procedure."""
    path = f"/api/v1/operations?reference={quote(reference, safe='')}&page_size=200"
    return Call(name="find by reference", service=service, method="GET", path=path)
