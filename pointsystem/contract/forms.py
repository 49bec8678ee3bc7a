"""The form of every answer: the exact members of each object, and what may stand in them.

Written down from the contract, not taken from the code that answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias

from pointsystem.contract.client import Exchange
from pointsystem.contract.verdicts import Broken, equal

Check: TypeAlias = Callable[[Any], bool]
Members: TypeAlias = dict[str, Check]

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

_UUID: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_INSTANT: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?Z")
_IDENTIFIER: Final = re.compile("[A-Za-z0-9._:-]{1,64}")
_REASON: Final = re.compile("[A-Z][A-Z0-9_]{0,31}")
_CURSOR: Final = re.compile("[A-Za-z0-9_-]{1,512}")

#: Status of each code: the closed list that clients branch on.
STATUSES: Final = {
    "malformed_request": 400,
    "idempotency_key_missing": 400,
    "idempotency_key_invalid": 400,
    "validation_failed": 400,
    "not_authenticated": 401,
    "scope_missing": 403,
    "operation_not_found": 404,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "operation_in_progress": 409,
    "not_cancellable": 409,
    "not_available_in_stage": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "insufficient_points": 422,
    "idempotency_key_reused": 422,
    "account_blocked": 422,
    "earn_already_spent": 422,
    "rate_limited": 429,
    "spending_frozen": 503,
    "account_held": 503,
    "account_busy": 503,
    "outcome_unknown": 503,
    "primary_unavailable": 503,
    "database_unavailable": 503,
}
#: Outcomes that stay with the key.
STORED: Final = frozenset({"insufficient_points", "account_blocked", "earn_already_spent", "not_cancellable"})
#: Told to come again, and when.
LATER: Final = frozenset(
    {"operation_in_progress", *(code for code, n in STATUSES.items() if n in (429, 503))}
)


# --- What may stand in a member -------------------------------------------------------------------------
def is_uuid(value: Any) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def is_instant(value: Any) -> bool:
    """RFC 3339 in UTC, and a time that there is."""
    if not isinstance(value, str) or _INSTANT.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_identifier(value: Any) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def is_reason(value: Any) -> bool:
    return isinstance(value, str) and _REASON.fullmatch(value) is not None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def is_whole(value: Any) -> bool:
    return type(value) is int


def is_natural(value: Any) -> bool:
    return is_whole(value) and value >= 0


def is_positive(value: Any) -> bool:
    return is_whole(value) and value > 0


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def one_of(*values: str) -> Check:
    return lambda value: isinstance(value, str) and value in values


def list_of(members: Members) -> Check:
    return lambda value: isinstance(value, list) and all(wrong(row, members) is None for row in value)


def object_of(members: Members) -> Check:
    return lambda value: wrong(value, members) is None


def wrong(value: Any, members: Members, optional: Iterable[str] = ()) -> str | None:
    """What is wrong with the form of `value`: members that are missing, too many or of another form."""
    if not isinstance(value, dict):
        return f"not an object: {value!r}"
    if missing := members.keys() - value.keys() - set(optional):
        return f"without {', '.join(sorted(missing))}"
    if unknown := value.keys() - members.keys():
        return f"with {', '.join(sorted(unknown))}"
    for name, given in value.items():
        if not members[name](given):
            return f"with {name} = {given!r}"
    return None


def well_formed(
    what: str,
    value: Any,
    members: Members,
    exchange: Exchange | None,
    optional: Iterable[str] = (),
) -> dict[str, Any]:
    """`value`, an object of exactly these members. Raises Broken."""
    if (mistake := wrong(value, members, optional)) is not None:
        raise Broken(f"{what} {mistake}", exchange)
    return dict(value)


# --- The objects ----------------------------------------------------------------------------------------
LOT_SHARE: Final[Members] = {"lot": is_uuid, "points": is_positive, "expires_at": or_null(is_instant)}

_OPERATION: Final[Members] = {
    "id": is_uuid,
    "kind": one_of("earn", "spend", "earn_cancel", "spend_cancel", "transfer", "adjust", "expire"),
    "state": one_of("pending", "accepted", "completed", "failed", "in_doubt"),
    "account_number": is_identifier,
    "points": is_positive,
    "reason": or_null(is_reason),
    "reference": or_null(is_identifier),
    "occurred_at": or_null(is_instant),
    "recorded_at": is_instant,
    "cancellable_points": is_natural,
    "balance_after": or_null(is_natural),
    "lots": or_null(list_of(LOT_SHARE)),
    "metadata": or_null(is_object),
}

BALANCE: Final[Members] = {
    "account_number": is_identifier,
    "available": is_natural,
    "expiring_soon": or_null(object_of({"points": is_natural, "before": is_instant})),
    "next_expiry": or_null(object_of({"points": is_positive, "at": is_instant})),
    "as_of": is_instant,
}

LOT: Final[Members] = {
    "id": is_uuid,
    "points": is_positive,
    "remaining": is_natural,
    "earned_at": is_instant,
    "expires_at": or_null(is_instant),
    # Null where a legacy granted it for a reason that it does not keep.
    "reason": or_null(is_reason),
    "origin": or_null(is_uuid),
}

LINE: Final[Members] = {
    "id": is_uuid,
    "operation_id": is_uuid,
    "kind": one_of(
        "earn",
        "spend",
        "earn_cancel",
        "spend_cancel",
        "expire",
        "transfer_out",
        "transfer_in",
        "adjust",
        "clawback",
    ),
    "points": is_whole,
    "balance_after": or_null(is_natural),
    "reason": or_null(is_reason),
    "reference": or_null(is_identifier),
    "recorded_at": is_instant,
}

PREVIEW: Final[Members] = {
    "account_number": is_identifier,
    "points": is_positive,
    "lots": list_of(LOT_SHARE),
    "available": is_natural,
    "available_after": is_natural,
}

_PAGE: Final[Members] = {
    "data": lambda value: isinstance(value, list),
    "next": or_null(lambda value: isinstance(value, str) and _CURSOR.fullmatch(value) is not None),
    "previous": or_null(lambda value: isinstance(value, str) and _CURSOR.fullmatch(value) is not None),
}

_PROBLEM: Final[Members] = {
    "type": is_text,
    "title": is_text,
    "status": is_whole,
    "code": is_text,
    "detail": is_text,
    "request_id": is_identifier,
    "errors": list_of({"field": lambda v: isinstance(v, str), "code": is_text, "message": is_text}),
    "operation_id": is_uuid,
}


def operation(value: Any, exchange: Exchange | None = None) -> dict[str, Any]:
    """`value`, an operation: members that only some kinds have stand exactly there. Raises Broken."""
    members = dict(_OPERATION)
    optional = set()
    if isinstance(value, dict):
        if value.get("kind") in ("earn_cancel", "spend_cancel"):
            members["cancels"] = is_uuid
        if value.get("kind") == "earn_cancel":
            members["uncollected_points"] = is_positive
            optional.add("uncollected_points")
        if value.get("kind") == "transfer":
            members["to_account_number"] = is_identifier
        if value.get("state") == "failed":
            members["refusal"] = object_of({"code": one_of(*STORED), "detail": is_text})
            # A cancel of all that is left, where nothing was, is of no points.
            members["points"] = is_natural if "cancels" in members else is_positive
    return well_formed("an operation", value, members, exchange, optional)


def page(value: Any, exchange: Exchange) -> dict[str, Any]:
    return well_formed("a page", value, _PAGE, exchange)


def problem(value: Any, code: str, exchange: Exchange | None = None) -> dict[str, Any]:
    """`value`, the problem `code` with what belongs to it. Raises Broken."""
    members = dict(_PROBLEM)
    optional = {"errors"}
    if code not in STORED:
        # Only an outcome names the operation that it is the outcome of.
        del members["operation_id"]
    if code == "validation_failed":
        optional.clear()
    elif code != "malformed_request":
        del members["errors"]
    found = well_formed(f"the problem {code}", value, members, exchange, optional)
    equal("code", found["code"], code, exchange)
    equal("type", found["type"], f"urn:pointsystem:problem:{code}", exchange)
    equal("status of the problem", found["status"], STATUSES[code], exchange)
    if code in STORED:
        equal("request_id of an outcome", found["request_id"], found["operation_id"], exchange)
    return found


# --- The answers ----------------------------------------------------------------------------------------
def of_every_answer(exchange: Exchange) -> None:
    """What holds of each answer, whatever was asked. Raises Broken."""
    request_id = exchange.headers.get("x-request-id")
    if exchange.status >= 500 and exchange.code not in STATUSES:
        raise Broken(f"answered {exchange.status}, which no input may cause", exchange)
    if not is_identifier(request_id):
        raise Broken(f"X-Request-ID is {request_id!r}", exchange)
    equal(
        "content type",
        exchange.headers.get("content-type"),
        JSON if exchange.status < 400 else PROBLEM,
        exchange,
    )
    if exchange.code in LATER and not exchange.headers.get("retry-after", "").isdigit():
        raise Broken(f"{exchange.code} without Retry-After in seconds", exchange)


def answered(exchange: Exchange, *statuses: int) -> Any:
    """The JSON of an answer with one of `statuses`. Raises Broken."""
    if exchange.status not in statuses:
        wanted = " or ".join(map(str, statuses))
        raise Broken(f"expected {wanted}, got {exchange.status} {exchange.code or ''}".rstrip(), exchange)
    try:
        return exchange.json
    except ValueError:
        raise Broken("the body is not JSON", exchange) from None


def refused(exchange: Exchange, code: str) -> dict[str, Any]:
    """The problem of an answer that must be the refusal `code`. Raises Broken."""
    if (exchange.status, exchange.code) != (STATUSES[code], code):
        got = f"{exchange.status} {exchange.code or ''}".rstrip()
        raise Broken(f"expected {STATUSES[code]} {code}, got {got}", exchange)
    found = problem(exchange.json, code, exchange)
    if code not in STORED:
        equal("request_id", found["request_id"], exchange.headers["x-request-id"], exchange)
    return found


def invalid(exchange: Exchange, **codes: str) -> None:
    """`validation_failed`, naming exactly these fields with these codes. Raises Broken."""
    errors = refused(exchange, "validation_failed")["errors"]
    equal("errors", {error["field"]: error["code"] for error in errors}, codes, exchange)
