"""From JSON values and query strings to the structs of `requests`, or to all that is wrong at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, Final, TypeVar, cast
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import inspect

from pointsystem.api.fields import clean_metadata, utc_instant
from pointsystem.api.problems import FieldError, Refused, validation_failed

Struct = TypeVar("Struct", bound=msgspec.Struct)

MISSING: Final = "missing"
UNKNOWN_FIELD: Final = "unknown_field"
WRONG_TYPE: Final = "wrong_type"
OUT_OF_RANGE: Final = "out_of_range"
BAD_FORMAT: Final = "bad_format"
BAD_VALUE: Final = "bad_value"

_JSON_NAMES: Final = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    NoneType: "null",
}


@dataclass(frozen=True, slots=True)
class _Field:
    attribute: str
    name: str
    type: Any
    is_required: bool
    #: The Python types of the JSON values that may stand here.
    accepted: frozenset[type]
    is_instant: bool
    is_metadata: bool


@cache
def _fields(struct: type[msgspec.Struct]) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            attribute=field.name,
            name=field.encode_name,
            type=field.type,
            is_required=field.required,
            accepted=frozenset(_accepted(inspect.type_info(field.type))),
            is_instant=_holds(inspect.type_info(field.type), inspect.DateTimeType),
            is_metadata=field.name == "metadata",
        )
        for field in msgspec.structs.fields(struct)
    )


@cache
def _finished_fields(struct: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """The fields that need a second look beside what their type says."""
    return tuple(field for field in _fields(struct) if field.is_instant or field.is_metadata)


def _options(info: inspect.Type) -> tuple[inspect.Type, ...]:
    while isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        return tuple(option for part in info.types for option in _options(part))
    return (info,)


def _holds(info: inspect.Type, wanted: type) -> bool:
    return any(isinstance(option, wanted) for option in _options(info))


def _accepted(info: inspect.Type) -> set[type]:
    types: dict[type, type] = {
        inspect.StrType: str,
        inspect.LiteralType: str,
        inspect.DateTimeType: str,
        inspect.IntType: int,
        inspect.BoolType: bool,
        inspect.DictType: dict,
        inspect.ListType: list,
        inspect.NoneType: NoneType,
    }
    return {types[type(option)] for option in _options(info) if type(option) in types}


def read(struct: type[Struct], data: Any) -> Struct:
    """`data` (a JSON value) as `struct`, times in UTC and text in NFC.

    Raises Refused: `malformed_request` where it is no object, `validation_failed` with every error.
    """
    if type(data) is not dict:
        raise Refused("malformed_request", "The body is not a JSON object.")
    try:
        body = msgspec.convert(data, struct, strict=True)
    except (msgspec.ValidationError, OverflowError):
        raise validation_failed(_all_errors(struct, data)) from None
    for field in _finished_fields(struct):
        value = data.get(field.name)
        if value is not None:
            finished = _finish(field, value)
            if isinstance(finished, FieldError):
                raise validation_failed(_all_errors(struct, data))
            setattr(body, field.attribute, finished)
    return body


def _finish(field: _Field, value: Any) -> datetime | dict[str, Any] | FieldError:
    if field.is_instant:
        instant = utc_instant(value)
        return instant or FieldError(field.name, BAD_FORMAT, "Expected an RFC 3339 time with offset.")
    metadata = clean_metadata(value)
    return FieldError(field.name, BAD_VALUE, metadata) if isinstance(metadata, str) else metadata


def _all_errors(struct: type[msgspec.Struct], data: Mapping[str, Any]) -> list[FieldError]:
    fields = {field.name: field for field in _fields(struct)}
    errors = []
    for name in data:
        if name not in fields:
            shown = name[:64].encode("ascii", "backslashreplace").decode()
            errors.append(FieldError(shown, UNKNOWN_FIELD, "There is no such field."))
    for field in fields.values():
        if field.name not in data:
            if field.is_required:
                errors.append(FieldError(field.name, MISSING, "This field is required."))
        elif error := _error_of(field, data[field.name]):
            errors.append(error)
    # What each field alone does not explain is an error all the same.
    return errors or [FieldError("", BAD_VALUE, "The request cannot be accepted.")]


def _error_of(field: _Field, value: Any) -> FieldError | None:
    try:
        msgspec.convert(value, field.type, strict=True)
    except (msgspec.ValidationError, OverflowError) as error:
        if type(value) not in field.accepted:
            expected = " or ".join(sorted(_JSON_NAMES[accepted] for accepted in field.accepted))
            return FieldError(field.name, WRONG_TYPE, f"Expected {expected}.")
        if type(value) is int:
            return FieldError(field.name, OUT_OF_RANGE, "The number is out of range.")
        if type(value) is str:
            return FieldError(field.name, BAD_FORMAT, "The text does not have the form of this field.")
        return FieldError(field.name, BAD_VALUE, str(error).split(" - at ")[0][:200])
    if value is not None and (field.is_instant or field.is_metadata):
        finished = _finish(field, value)
        return finished if isinstance(finished, FieldError) else None
    return None


def read_query(struct: type[Struct] | None, query: str) -> Struct | None:
    """The query string as `struct`; a `+` is a plus, as in RFC 3986, for times have one.

    Raises Refused (`validation_failed`), also for a parameter that is unknown or comes twice.
    """
    if not query:
        return _without_parameters(struct) if struct is not None else None
    values: dict[str, str] = {}
    errors: list[FieldError] = []
    for part in query.split("&"):
        raw_name, _, raw_value = part.partition("=")
        try:
            name = unquote_to_bytes(raw_name).decode("utf-8")
            value = unquote_to_bytes(raw_value).decode("utf-8")
        except UnicodeDecodeError:
            errors.append(FieldError("query", BAD_FORMAT, "A parameter is not UTF-8."))
            continue
        if name in values:
            shown = name[:64].encode("ascii", "backslashreplace").decode()
            errors.append(FieldError(shown, "repeated", "This parameter stands twice."))
        values[name] = value
    if struct is None:
        struct = cast("type[Struct]", _NoParameters)
    if errors:
        raise validation_failed(errors + _query_errors(struct, values))
    return read(struct, values)


def _without_parameters(struct: type[Struct]) -> Struct:
    """What an empty query says: nothing writes to it, so one will do for all requests."""
    known = _empty_queries.get(struct)
    if known is None:
        known = _empty_queries[struct] = read(struct, {})
    return cast("Struct", known)


_empty_queries: dict[type[msgspec.Struct], msgspec.Struct] = {}


class _NoParameters(msgspec.Struct, forbid_unknown_fields=True):
    pass


def _query_errors(struct: type[msgspec.Struct], values: Mapping[str, str]) -> list[FieldError]:
    return [error for error in _all_errors(struct, values) if error.field]
