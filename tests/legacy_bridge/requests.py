"""Requests of the bridge with everything filled in that a test does not care about."""

import itertools
import uuid
from typing import Any

from legacy_bridge.records import CancelRequest, EarnRequest, SpendRequest

_numbers = itertools.count(1)


def new_account() -> str:
    """An account number that no other test of this run has."""
    return f"m-{next(_numbers)}-{uuid.uuid4().hex[:6]}"


def earn(account_number: str, points: int = 100, **given: Any) -> EarnRequest:
    values = {"operation_id": uuid.uuid4(), "reason": "ORDER_REWARD", "reference": None}
    return EarnRequest(account_number=account_number, points=points, **{**values, **given})


def spend(account_number: str, points: int = 30, **given: Any) -> SpendRequest:
    values = {"operation_id": uuid.uuid4(), "reason": "ORDER_PAYMENT", "reference": None}
    return SpendRequest(account_number=account_number, points=points, **{**values, **given})


def cancel(account_number: str, row_id: str, points: int, **given: Any) -> CancelRequest:
    """The cancel of a whole spend, unless `given` says otherwise."""
    values: dict[str, Any] = {
        "operation_id": uuid.uuid4(),
        "reason": "ORDER_CANCELLED",
        "reference": None,
        "is_of_spend": True,
        "cancelled_points": points,
        "already_cancelled_points": 0,
    }
    return CancelRequest(
        account_number=account_number, points=points, cancelled_row_id=row_id, **{**values, **given}
    )
