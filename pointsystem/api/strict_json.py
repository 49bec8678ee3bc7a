"""JSON that says one thing only: no name twice, no NaN, no deep nesting, no half characters."""

import json
from typing import Any, Final, NoReturn

from pointsystem.api.problems import FieldError, Refused

MOST_DEPTH: Final = 20


class _Duplicate(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Duplicate(next(name for name in names if names.count(name) > 1))
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)


def decode(body: bytes) -> Any:
    """The value that `body` holds. Raises Refused (`malformed_request`)."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("malformed_request", "The body is not UTF-8.") from None
    try:
        value = _decoder.decode(text)
    except _Duplicate as duplicate:
        name = str(duplicate).encode("ascii", "backslashreplace").decode()
        raise Refused(
            "malformed_request",
            "A name stands twice in one object.",
            errors=[FieldError(name, "duplicate", "This name stands twice.")],
        ) from None
    except (ValueError, RecursionError):
        # The scanner gives up on deep nesting long before the stack does.
        raise Refused("malformed_request", "The body is not JSON.") from None
    if text.count("[") + text.count("{") > MOST_DEPTH and _is_deeper(value, MOST_DEPTH):
        raise Refused("malformed_request", f"The body is nested deeper than {MOST_DEPTH} levels.")
    if "\\u" in text and _has_lone_surrogate(value):
        raise Refused("malformed_request", "A string holds half of a surrogate pair.")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects in `value` nest deeper than `levels`."""
    if not isinstance(value, dict | list):
        return False
    if levels == 0:
        return True
    parts = value.values() if isinstance(value, dict) else value
    return any(_is_deeper(part, levels - 1) for part in parts if isinstance(part, dict | list))


def _has_lone_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return True
        return False
    if isinstance(value, dict):
        return any(_has_lone_surrogate(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return any(map(_has_lone_surrogate, value))
    return False
