"""The one error shape (RFC 9457), and the closed list of codes that clients branch on.

A stored refusal is the outcome of its operation and must come back byte for byte, so its `request_id` is
the id of the operation: the request that happens to ask again is named in the X-Request-ID header alone
(docs/adr/0008-lean-views.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ledger.errors import Refusal, ValidationRefused

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:pointsystem:problem:"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a code stands for: its HTTP status, its title, and what a client does about it."""

    status: int
    title: str
    advice: str


CODES: Final[dict[str, Meaning]] = {
    "malformed_request": Meaning(400, "Malformed request", "Correct the request; it cannot be read."),
    "idempotency_key_missing": Meaning(400, "Idempotency-Key is missing", "Send one key for each operation."),
    "idempotency_key_invalid": Meaning(
        400, "Idempotency-Key is invalid", "Send one header of 1 to 255 printable ASCII characters."
    ),
    "validation_failed": Meaning(400, "Validation failed", "Correct the fields named in `errors`."),
    "not_authenticated": Meaning(
        401, "Not authenticated", "Send a valid key as `Authorization: Bearer KEY`."
    ),
    "scope_missing": Meaning(
        403, "Scope missing", "Ask the operator for a key with the scope that is named."
    ),
    "operation_not_found": Meaning(
        404, "Operation not found", "Check the id; other clients' operations are hidden."
    ),
    "not_found": Meaning(404, "Not found", "Check the address."),
    "method_not_allowed": Meaning(405, "Method not allowed", "Use a method of the Allow header."),
    "not_acceptable": Meaning(406, "Not acceptable", "Accept application/json."),
    "operation_in_progress": Meaning(409, "Operation in progress", "Send the same request again, later."),
    "not_cancellable": Meaning(409, "Not cancellable", "Nothing; the outcome stays."),
    "not_available_in_stage": Meaning(409, "Not available in this stage", "Do it after the cutover."),
    "payload_too_large": Meaning(413, "Payload too large", "Send less at once."),
    "unsupported_media_type": Meaning(
        415, "Unsupported media type", "Send application/json in UTF-8, not encoded."
    ),
    "insufficient_points": Meaning(
        422, "Insufficient points", "Nothing; for another attempt use another key."
    ),
    "idempotency_key_reused": Meaning(
        422, "Idempotency-Key was used before", "Use a new key for a new request."
    ),
    "account_blocked": Meaning(422, "Account blocked", "Ask support; for another attempt use another key."),
    "earn_already_spent": Meaning(422, "Earn already spent", "Nothing; the outcome stays."),
    "rate_limited": Meaning(429, "Rate limited", "Wait for Retry-After seconds."),
    "spending_frozen": Meaning(
        503, "Spending frozen", "Send the same request again after Retry-After seconds."
    ),
    "account_held": Meaning(503, "Account held", "Send the same request again after Retry-After seconds."),
    "account_busy": Meaning(503, "Account busy", "Send the same request again after Retry-After seconds."),
    "outcome_unknown": Meaning(
        503, "Outcome unknown", "Send the same request again: the key tells the outcome."
    ),
    "primary_unavailable": Meaning(
        503, "Primary unavailable", "Send the same request again after Retry-After seconds."
    ),
    "database_unavailable": Meaning(
        503, "Database unavailable", "Send the same request again after Retry-After seconds."
    ),
}
#: Not part of the contract: what an error of the product itself is answered with.
INTERNAL_ERROR: Final = "internal_error"
_MEANINGS: Final = {
    **CODES,
    INTERNAL_ERROR: Meaning(
        500, "Internal error", "Report the request_id; the same key is safe to send again."
    ),
}
DEFAULT_RETRY_AFTER_SECONDS: Final = 2


class FieldError(msgspec.Struct, frozen=True):
    """One thing that is wrong with the request, at `field`: a name, a path of names, or a header."""

    field: str
    code: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """`application/problem+json`."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: tuple[FieldError, ...] | msgspec.UnsetType = msgspec.UNSET
    operation_id: str | msgspec.UnsetType = msgspec.UNSET


class Refused(Exception):
    """What the API itself refuses, before or instead of the ledger."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Sequence[tuple[str, str]] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = list(headers)
        self.retry_after_seconds = retry_after_seconds


def validation_failed(errors: Sequence[FieldError]) -> Refused:
    fields = ", ".join(dict.fromkeys(error.field for error in errors))
    return Refused("validation_failed", f"Not accepted: {fields}.", errors=errors)


def problem(
    code: str,
    detail: str,
    *,
    request_id: str,
    errors: Sequence[FieldError] = (),
    operation_id: str | None = None,
) -> Problem:
    meaning = _MEANINGS[code]
    return Problem(
        type=TYPE_PREFIX + code,
        title=meaning.title,
        status=meaning.status,
        code=code,
        detail=detail,
        request_id=request_id,
        errors=tuple(errors) or msgspec.UNSET,
        operation_id=operation_id or msgspec.UNSET,
    )


def of_refusal(refusal: Refusal, *, request_id: str) -> Problem:
    """The problem of what the ledger refused."""
    errors: tuple[FieldError, ...] = ()
    if isinstance(refusal, ValidationRefused):
        errors = (FieldError(refusal.field, refusal.field_code, refusal.detail),)
    operation_id = str(refusal.operation_id) if refusal.operation_id else None
    return problem(
        refusal.code,
        refusal.detail,
        request_id=operation_id or request_id,
        errors=errors,
        operation_id=operation_id,
    )


def of_refused(refused: Refused, *, request_id: str) -> Problem:
    """The problem of what the API refused."""
    return problem(refused.code, refused.detail, request_id=request_id, errors=refused.errors)


def retry_after_seconds(code: str, given: int | None) -> int | None:
    """Whole seconds for Retry-After: always with 503, else where the refusal knows them."""
    if given is None and _MEANINGS[code].status == 503:
        return DEFAULT_RETRY_AFTER_SECONDS
    return given
