"""The types of fields: one definition for validation and for the OpenAPI schema.

Patterns end in `\\Z`, because Python's `$` also matches before a final newline; the schema shows the same
pattern in the spelling of ECMA 262.
"""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

MOST_POINTS: Final = 1_000_000_000
MOST_METADATA_BYTES: Final = 2048
MOST_METADATA_KEYS: Final = 20
MOST_PAGE_ROWS: Final = 200
DEFAULT_PAGE_ROWS: Final = 50
#: What every reader of JSON keeps exactly.
MOST_METADATA_INTEGER: Final = 2**53 - 1


def _pattern(pattern: str, description: str, *, example: str, **schema: Any) -> Meta:
    return Meta(
        pattern=rf"^(?:{pattern})\Z",
        description=description,
        examples=[example],
        extra_json_schema={"pattern": f"^{pattern}$", **schema},
    )


IDENTIFIER: Final = "[A-Za-z0-9._:-]{1,64}"
UUID_TEXT: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

AccountNumber: TypeAlias = Annotated[
    str, _pattern(IDENTIFIER, "The client's own number of the account.", example="member-1001")
]
Reference: TypeAlias = Annotated[
    str,
    _pattern(
        IDENTIFIER, "The caller's own id for the business fact, such as an order number.", example="order-7"
    ),
]
OperationId: TypeAlias = Annotated[
    str,
    _pattern(
        UUID_TEXT,
        "The id of an operation, in lower case.",
        example="01980a0b-7c1d-7e2f-8a3b-4c5d6e7f8091",
        format="uuid",
    ),
]
ReasonCode: TypeAlias = Annotated[
    str, _pattern("[A-Z][A-Z0-9_]{0,31}", "Why, from the operator's list.", example="ORDER_REWARD")
]
Points: TypeAlias = Annotated[
    int, Meta(ge=1, le=MOST_POINTS, description="Whole points, written as an integer.", examples=[120])
]
#: RFC 3339; `offset` is a part of it. msgspec also takes a blank for the T and an offset without colon.
INSTANT_TEXT: Final = (
    "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_INSTANT: Final = re.compile(INSTANT_TEXT)
Instant: TypeAlias = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339 with offset.",
        examples=["2026-12-31T23:59:59+09:00"],
        extra_json_schema={"format": "date-time", "pattern": f"^{INSTANT_TEXT}$"},
    ),
]
MetadataValue: TypeAlias = (
    Annotated[str, Meta(max_length=MOST_METADATA_BYTES)]
    | Annotated[int, Meta(ge=-MOST_METADATA_INTEGER, le=MOST_METADATA_INTEGER)]
    | bool
)
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=64)], MetadataValue],
    Meta(
        description=f"Up to {MOST_METADATA_KEYS} keys and {MOST_METADATA_BYTES} bytes, kept in NFC.",
        extra_json_schema={"maxProperties": MOST_METADATA_KEYS},
        examples=[{"channel": "web"}],
    ),
]
PageSize: TypeAlias = Annotated[
    str,
    _pattern(
        "[1-9]|[1-9][0-9]|1[0-9][0-9]|200",
        f"Rows of one page, at most {MOST_PAGE_ROWS}.",
        example="50",
        type="integer",
        minimum=1,
        maximum=MOST_PAGE_ROWS,
        default=DEFAULT_PAGE_ROWS,
    ),
]
Cursor: TypeAlias = Annotated[
    str, _pattern("[A-Za-z0-9_-]{1,512}", "`next` or `previous` of a page of this list.", example="bnwxMg")
]
LotState: TypeAlias = Annotated[
    Literal["live", "all"], Meta(description="Lots that can be spent, or all there ever were.")
]
IdempotencyKey: TypeAlias = Annotated[
    str,
    _pattern(
        "[ -~]{1,255}", "Names this operation for ever; the same key never does it twice.", example="c1d2-7"
    ),
]


_ACCOUNT_NUMBER: Final = re.compile(IDENTIFIER)
_OPERATION_ID: Final = re.compile(UUID_TEXT)


def is_account_number(text: str) -> bool:
    return _ACCOUNT_NUMBER.fullmatch(text) is not None


def is_operation_id(text: str) -> bool:
    return _OPERATION_ID.fullmatch(text) is not None


def utc_instant(text: str) -> datetime | None:
    """The instant that `text` names, in UTC; None where `text` is no RFC 3339 time with offset."""
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def clean_metadata(metadata: dict[str, Any]) -> dict[str, Any] | str:
    """`metadata` in NFC, or the sentence that says what is wrong with it."""
    cleaned: dict[str, Any] = {}
    for key, value in metadata.items():
        name = _clean_text(key)
        kept = _clean_text(value) if isinstance(value, str) else value
        if name is None or kept is None:
            return "Control characters cannot be kept."
        if name in cleaned:
            return "Two keys are the same text."
        cleaned[name] = kept
    if len(cleaned) > MOST_METADATA_KEYS:
        return f"At most {MOST_METADATA_KEYS} keys can be kept."
    if len(msgspec.json.encode(cleaned)) > MOST_METADATA_BYTES:
        return f"At most {MOST_METADATA_BYTES} bytes can be kept."
    return cleaned


def _clean_text(text: str) -> str | None:
    if text.isascii():
        return text if text.isprintable() else None
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return None
    return unicodedata.normalize("NFC", text)
