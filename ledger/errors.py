"""What the ledger refuses, one small class per refused fact, each with its stable code.

`is_stored` says whether the refusal is the outcome of the operation, given again whenever the key
comes back, or something that a retry may change (docs/adr/0005-idempotency.md).
"""

from typing import Any, ClassVar
from uuid import UUID


class Refusal(Exception):
    """Base of all refusals. `detail` is one sentence for people; clients branch on `code`."""

    code: ClassVar[str]
    is_stored: ClassVar[bool] = False
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        #: The operation that was refused, where there is one.
        self.operation_id: UUID | None = None
        #: True when this is the stored outcome of an earlier request with the same key.
        self.is_replayed = False

    def to_json(self) -> dict[str, Any]:
        """The stored form; `from_json` gives an equal refusal back."""
        return {"code": self.code, "detail": self.detail}


class ValidationRefused(Refusal):
    """A field that is well formed but cannot be accepted now (unknown reason, expiry in the past)."""

    code = "validation_failed"

    def __init__(self, *, field: str, field_code: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field
        self.field_code = field_code

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "field": self.field, "field_code": self.field_code}


class InsufficientPoints(Refusal):
    code = "insufficient_points"
    is_stored = True


class AccountBlocked(Refusal):
    """The account is blocked or closed."""

    code = "account_blocked"
    is_stored = True


class EarnAlreadySpent(Refusal):
    """The earn's reason refuses to cancel points that were spent (clawback policy REJECT)."""

    code = "earn_already_spent"
    is_stored = True


class NotCancellable(Refusal):
    """Not an earn or a spend, or more than is left to cancel."""

    code = "not_cancellable"
    is_stored = True


class IdempotencyKeyReused(Refusal):
    code = "idempotency_key_reused"


class OperationInProgress(Refusal):
    """The same key is being run by another request, longer than the lock timeout."""

    code = "operation_in_progress"
    retry_after_seconds = 1


class OperationNotFound(Refusal):
    """No such operation, or not one that this client may see: the answer is the same."""

    code = "operation_not_found"


class AccountBusy(Refusal):
    """The account's lock could not be had within the lock timeout. Nothing was changed."""

    code = "account_busy"
    retry_after_seconds = 1


class PrimaryUnavailable(Refusal):
    """The side that decides did not get to it in time. Nothing was changed."""

    code = "primary_unavailable"
    retry_after_seconds = 2


class OutcomeUnknown(Refusal):
    """The side that decides did not answer: it may have been done. It is being found out; the same key
    then gives `operation_in_progress`, and the outcome after."""

    code = "outcome_unknown"
    retry_after_seconds = 2


class SpendingFrozen(Refusal):
    """Spending is stopped for a while; earns and cancels are accepted, and done after it."""

    code = "spending_frozen"
    retry_after_seconds = 30


class AccountHeld(Refusal):
    """The account waits a moment at a switch of sides. Nothing was changed."""

    code = "account_held"
    retry_after_seconds = 1


class NotAvailableInStage(Refusal):
    """The side that decides has no form for this. After the cutover it can be done."""

    code = "not_available_in_stage"


class DatabaseUnavailable(Refusal):
    """PostgreSQL refused, ended or timed out. What was asked may or may not have been done; the
    same key tells."""

    code = "database_unavailable"
    retry_after_seconds = 2


_STORED: dict[str, type[Refusal]] = {
    refusal.code: refusal
    for refusal in (InsufficientPoints, AccountBlocked, EarnAlreadySpent, NotCancellable)
}


def from_json(stored: dict[str, Any]) -> Refusal:
    """The refusal that `to_json` wrote. Raises KeyError for a code that is never stored."""
    if stored["code"] == ValidationRefused.code:
        return ValidationRefused(
            field=stored["field"], field_code=stored["field_code"], detail=stored["detail"]
        )
    return _STORED[stored["code"]](stored["detail"])
