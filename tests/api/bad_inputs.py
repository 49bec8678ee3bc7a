"""The bad inputs of the product, as bytes: what a library would never send, an attacker will.

Each is tried on every endpoint that takes a body, read off the table of endpoints. A value is written into
the field it is about; endpoints without that field are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pointsystem.api.endpoints import ENDPOINTS, Endpoint

#: A good body for every endpoint that takes one; an endpoint that is missing here fails.
GOOD_BODIES: dict[str, dict[str, Any]] = {
    "earn": {"points": 10, "reason": "ORDER_REWARD"},
    "spend": {"points": 10, "reason": "ORDER_PAYMENT"},
    "cancel": {"points": 10},
    "transfer": {"from": "giver", "to": "taker", "points": 10, "reason": "GIFT"},
    "spend_preview": {"points": 10},
    "batch": {"operations": []},
}
PATH_ARGUMENTS = {"account_number": "member-1", "id": "01980a0b-7c1d-7e2f-8a3b-4c5d6e7f8091"}
DEEP = 100_000


def with_bodies() -> list[Endpoint]:
    return [endpoint for endpoint in ENDPOINTS if endpoint.body is not None]


def path_of(endpoint: Endpoint, **arguments: str) -> str:
    return endpoint.path.format(**{**PATH_ARGUMENTS, **arguments})


@dataclass(frozen=True)
class BadInput:
    """One request that must be refused with `status` and `code`, and write nothing."""

    name: str
    endpoint: Endpoint
    body: bytes
    status: int = 400
    code: str = "validation_failed"
    wrong_field: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.endpoint.name}-{self.name}"


def _with(endpoint: Endpoint, name: str, literal: str) -> bytes:
    """The good body with the JSON text `literal` as the value of `name`."""
    members = {key: json.dumps(value) for key, value in GOOD_BODIES[endpoint.name].items()}
    members[name] = literal
    return ("{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in members.items()) + "}").encode()


def _fields(endpoint: Endpoint) -> set[str]:
    assert endpoint.body is not None
    import msgspec

    return {part.encode_name for part in msgspec.structs.fields(endpoint.body)}


# --- Values, as JSON text -------------------------------------------------------------------------------
POINTS = {
    "zero": "0",
    "negative": "-1",
    "minus-zero": "-0",
    "above-the-cap": "1000000001",
    "int64": str(2**63 - 1),
    "int64-and-one": str(2**63),
    "below-int64": str(-(2**63) - 1),
    "4000-digits": "9" * 4000,
    "fraction": "1.5",
    "whole-float": "1.0",
    "exponent": "1e3",
    "huge-exponent": "1e400",
    "string": '"10"',
    "padded-string": '" 10 "',
    "signed-string": '"+10"',
    "float-string": '"10.0"',
    "underscored-string": '"1_000"',
    "arabic-digits": '"\u0661\u0662"',
    "full-width-digits": '"\uff11\uff12"',
    "superscript": '"\u00b2"',
    "exponent-string": '"1e3"',
    "hexadecimal-string": '"0x10"',
    "empty-string": '""',
    "true": "true",
    "null": "null",
    "array": "[]",
    "array-of-one": "[10]",
    "object": "{}",
}
#: Refused before any field is looked at: these are no JSON.
NOT_JSON_POINTS = {
    "nan": "NaN",
    "infinity": "Infinity",
    "minus-infinity": "-Infinity",
    "leading-zero": "01",
    "plus": "+1",
    "5000-digits": "9" * 5000,
    "bare-fraction": ".5",
    "trailing-dot": "1.",
    "hexadecimal": "0x10",
    "python-underscore": "1_000",
    "arabic": "\u0661",
}
IDENTIFIERS = {
    "empty": '""',
    "65-long": json.dumps("a" * 65),
    "10000-long": json.dumps("a" * 10_000),
    "padded": '"  a  "',
    "newline": r'"a\nb"',
    "final-newline": r'"a\n"',
    "escape": r'"a\u001b[31m"',
    "nul": r'"a\u0000b"',
    "right-to-left": r'"a\u202eb"',
    "zero-width": r'"a\u200bb"',
    "full-width": '"\uff41\uff42"',
    "combining": '"e\u0301"',
    "integer": "123",
    "exponent": "1e5",
    "true": "true",
    "array": '["a"]',
    "sql": '"\'; DROP TABLE ledger_entry; --"',
    "percent": '"%"',
    "backslash": r'"a\\b"',
    "dots": '"../../etc/passwd"',
    "shell": '"${HOME}"',
    "template": '"{{7*7}}"',
    "script": '"<script>alert(1)</script>"',
}
TIMES = {
    "without-offset": '"2026-01-01T00:00:00"',
    "date-only": '"2026-01-01"',
    "iso-week": '"2026-W01-1T00:00:00Z"',
    "ordinal-date": '"2026-001T00:00:00Z"',
    "basic-form": '"20260101T000000Z"',
    "blank-for-t": '"2026-01-01 00:00:00Z"',
    "without-seconds": '"2026-01-01T00:00Z"',
    "offset-without-colon": '"2026-01-01T00:00:00+0900"',
    "short-offset": '"2026-01-01T00:00:00+09"',
    "arabic-digits": '"\u0662\u0660\u0662\u0666-01-01T00:00:00Z"',
    "full-width-digits": '"\uff12\uff10\uff12\uff16-01-01T00:00:00Z"',
    "year-0": '"0000-01-01T00:00:00Z"',
    "year-10000": '"10000-01-01T00:00:00Z"',
    "signed-year": '"+2026-01-01T00:00:00Z"',
    "february-30": '"2026-02-30T00:00:00Z"',
    "february-29": '"2026-02-29T00:00:00Z"',
    "month-13": '"2026-13-01T00:00:00Z"',
    "hour-24": '"2026-01-01T24:00:00Z"',
    "second-60": '"2026-12-31T23:59:60Z"',
    "offset-99": '"2026-01-01T00:00:00+99:99"',
    "before-year-1": '"0001-01-01T00:00:00+14:00"',
    "after-year-9999": '"9999-12-31T23:59:59-12:00"',
    "comma": '"2026-01-01T00:00:00,5Z"',
    "nanoseconds": '"2026-01-01T00:00:00.123456789Z"',
    "padded": '" 2026-01-01T00:00:00Z "',
    "final-newline": r'"2026-01-01T00:00:00Z\n"',
    "nul": r'"2026-01-01T00:00:00Z\u0000"',
    "number": "1767225600",
    "digits": '"1767225600"',
    "empty": '""',
    "now": '"now"',
    "infinity": '"infinity"',
    "true": "true",
    "array": "[]",
}
METADATA = {
    "array": "[]",
    "string": '"a"',
    "number": "1",
    "nested-object": '{"a": {"b": 1}}',
    "nested-array": '{"a": [1]}',
    "null-value": '{"a": null}',
    "float": '{"a": 1.5}',
    "whole-float": '{"a": 1.0}',
    "big-integer": '{"a": 9007199254740992}',
    "1500-digits": '{"a": ' + "9" * 1500 + "}",
    "21-keys": json.dumps({f"k{number}": 1 for number in range(21)}),
    "above-2-kib": json.dumps({"a": "x" * 2048}),
    "above-2-kib-in-bytes": json.dumps({"a": "\uac00" * 700}),
    "empty-key": '{"": 1}',
    "long-key": json.dumps({"k" * 65: 1}),
    "nul": r'{"a": "b\u0000c"}',
    "nul-in-key": r'{"a\u0000": "b"}',
    "newline": r'{"a": "b\nc"}',
    "escape": r'{"a": "\u001b[31m"}',
    "delete": '{"a": "\x7f"}',
    "c1-control": r'{"a": "\u0085"}',
    "one-key-in-two-forms": r'{"\u00e9": 1, "e\u0301": 2}',
    "depth-10": '{"a": ' + "[" * 10 + "]" * 10 + "}",
}
REASONS = {
    "lower-case": '"order_reward"',
    "33-long": json.dumps("R" * 33),
    "padded": '" ORDER_REWARD"',
    "final-newline": r'"ORDER_REWARD\n"',
    "empty": '""',
    "number": "5",
    "array": '["ORDER_REWARD"]',
    "sql": '"\' OR 1=1 --"',
}
OPTIONAL_FIELDS = {"reference": IDENTIFIERS, "occurred_at": TIMES, "expires_at": TIMES, "metadata": METADATA}

# --- Whole bodies ---------------------------------------------------------------------------------------
MALFORMED_BODIES: dict[str, bytes] = {
    "empty": b"",
    "blank": b"  \n",
    "array": b"[]",
    "array-of-objects": b'[{"points": 10}]',
    "null": b"null",
    "string": b'"points"',
    "number": b"10",
    "true": b"true",
    "text": b"points=10",
    "trailing-comma": b'{"points": 10,}',
    "trailing-junk": b'{"points": 10} x',
    "two-objects": b'{"points": 10}{"points": 10}',
    "unclosed": b'{"points": 10',
    "single-quotes": b"{'points': 10}",
    "comment": b'{"points": 10 /* all */}',
    "bare-name": b"{points: 10}",
    "byte-order-mark": b'\xef\xbb\xbf{"points": 10}',
    "utf-16": '{"points": 10}'.encode("utf-16"),
    "utf-16-without-mark": '{"points": 10}'.encode("utf-16-le"),
    "utf-32": '{"points": 10}'.encode("utf-32"),
    "latin-1": b'{"reference": "\xe9"}',
    "overlong-utf-8": b'{"reference": "\xc0\xaf"}',
    "surrogate-in-utf-8": b'{"reference": "\xed\xa0\x80"}',
    "above-unicode": b'{"reference": "\xf4\x90\x80\x80"}',
    "raw-nul": b'{"reference": "a\x00b"}',
    "raw-newline-in-string": b'{"reference": "a\nb"}',
    "lone-surrogate": rb'{"reference": "\ud800"}',
    "lone-low-surrogate": rb'{"metadata": {"a": "\udc00"}}',
    "lone-surrogate-in-key": rb'{"metadata": {"\ud800": 1}}',
    "bad-escape": rb'{"reference": "\x41"}',
    "duplicate-name": b'{"points": 10, "points": 10}',
    "duplicate-name-escaped": rb'{"points": 10, "p\u006fints": 20}',
    "duplicate-name-inside": b'{"points": 10, "metadata": {"a": 1, "a": 2}}',
    "depth-21": b'{"metadata": ' + b"[" * 20 + b"]" * 20 + b"}",
    "depth-500": b'{"metadata": ' + b"[" * 500 + b"]" * 500 + b"}",
    "depth-of-objects": b'{"a":' * 100 + b"1" + b"}" * 100,
    "unclosed-depth": b"[" * 60_000,
}
UNKNOWN_NAMES = [
    "colour",
    "Points",
    "points ",
    "id",
    "client_id",
    "state",
    "recorded_at",
    "balance_after",
    "account_number",
    "actor",
    "any_client",
    "__proto__",
    "constructor",
    "idempotency_key",
    "",
]
CONTENT_TYPES = {
    "missing": "",
    "text": "text/plain",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "xml": "application/xml",
    "problem": "application/problem+json",
    "json-like": "application/jsonx",
    "patch": "application/json-patch+json",
    "bogus-charset": "application/json; charset=bogus",
    "utf-7": "application/json; charset=utf-7",
    "utf-16": "application/json; charset=utf-16",
    "latin-1": "application/json; charset=latin-1",
    "other-parameter": "application/json; version=2",
    "two-types": "application/json, text/plain",
}
ENCODINGS = ["gzip", "deflate", "br", "zstd", "gzip, identity", "compress"]
ACCEPTS = [
    "application/xml",
    "text/html",
    "text/*",
    "application/problem+json",
    "application/json;q=0",
    "*/*;q=0",
    "application/json;q=0, */*",
    "image/png, text/html;q=0.9",
    "application/json;q=x",
]
KEYS = {
    "empty": "",
    "blank": "   ",
    "256-long": "k" * 256,
    "non-ascii": "\u00e9",
    "delete": "a\x7fb",
    "control": "a\x01b",
    "tab-inside": "a\tb",
    "twice": "a,b",
    "twice-quoted": '"a","b"',
    "empty-quoted": '""',
    "unclosed-quote": '"a',
    "junk-after-quote": '"a"b',
    "bad-escape": r'"a\b"',
    "256-quoted": '"' + "k" * 256 + '"',
}
PATH_NUMBERS = {
    "blank": "a%20b",
    "newline": "a%0Ab",
    "final-newline": "a%0A",
    "nul": "a%00b",
    "65-long": "a" * 65,
    "10000-long": "a" * 10_000,
    "percent": "%25",
    "non-ascii": "%C3%A9",
    "broken-utf-8": "%FF",
    "full-width": "%EF%BC%91",
    "plus": "a+b",
    "sql": "%27;DROP%20TABLE%20x--",
    "at": "a@b",
    "comma": "a,b",
    "script": "%3Cscript%3E",
}


def cases() -> Iterator[BadInput]:
    """Every bad input on every endpoint that it is about."""
    for endpoint in with_bodies():
        yield from _of_values(endpoint)
        yield from _of_bodies(endpoint)
        yield from _of_headers(endpoint)


def _of_values(endpoint: Endpoint) -> Iterator[BadInput]:
    fields = _fields(endpoint)
    if "points" in fields:
        for name, literal in POINTS.items():
            yield BadInput(
                f"points-{name}", endpoint, _with(endpoint, "points", literal), wrong_field="points"
            )
        for name, literal in NOT_JSON_POINTS.items():
            body = _with(endpoint, "points", literal)
            yield BadInput(f"points-{name}", endpoint, body, code="malformed_request")
    for optional, values in OPTIONAL_FIELDS.items():
        if optional in fields:
            for name, literal in values.items():
                body = _with(endpoint, optional, literal)
                yield BadInput(f"{optional}-{name}", endpoint, body, wrong_field=optional)
    for number in ("from", "to"):
        if number in fields:
            for name, literal in {**IDENTIFIERS, "null": "null"}.items():
                yield BadInput(
                    f"{number}-{name}", endpoint, _with(endpoint, number, literal), wrong_field=number
                )
    if "reason" in fields:
        for name, literal in REASONS.items():
            yield BadInput(
                f"reason-{name}", endpoint, _with(endpoint, "reason", literal), wrong_field="reason"
            )
    for name in UNKNOWN_NAMES:
        if name not in fields:
            yield BadInput(f"unknown-{name!r}", endpoint, _with(endpoint, name, "1"), wrong_field=name)
    for name in GOOD_BODIES[endpoint.name]:
        if endpoint.name != "cancel":
            rest = {key: value for key, value in GOOD_BODIES[endpoint.name].items() if key != name}
            yield BadInput(f"{name}-missing", endpoint, json.dumps(rest).encode(), wrong_field=name)


def _of_bodies(endpoint: Endpoint) -> Iterator[BadInput]:
    for name, body in MALFORMED_BODIES.items():
        yield BadInput(f"body-{name}", endpoint, body, code="malformed_request")
    deep = b'{"metadata": ' + b"[" * DEEP + b"]" * DEEP + b"}"
    many = json.dumps({f"k{number}": number for number in range(200_000)}).encode()
    # Too large for one operation; what a batch may hold by size is refused for what it is.
    is_batch = endpoint.name == "batch"
    large = {"status": 413, "code": "payload_too_large"}
    yield BadInput(
        "body-depth-100000", endpoint, deep, **({"code": "malformed_request"} if is_batch else large)
    )
    yield BadInput("body-3-mb", endpoint, b" " * 3_000_000, **large)  # type: ignore[arg-type]
    yield BadInput("body-200000-keys", endpoint, many, **large)  # type: ignore[arg-type]
    yield BadInput("body-one-byte-too-much", endpoint, b" " * (endpoint.most_body_bytes + 1), **large)  # type: ignore[arg-type]


def _of_headers(endpoint: Endpoint) -> Iterator[BadInput]:
    good = json.dumps(GOOD_BODIES[endpoint.name]).encode()
    media = {"status": 415, "code": "unsupported_media_type"}
    for name, value in CONTENT_TYPES.items():
        yield BadInput(f"type-{name}", endpoint, good, headers={"Content-Type": value}, **media)  # type: ignore[arg-type]
    for value in ENCODINGS:
        headers = {"Content-Encoding": value}
        yield BadInput(f"encoding-{value}", endpoint, good, headers=headers, **media)  # type: ignore[arg-type]
    for value in ACCEPTS:
        yield BadInput(f"accept-{value}", endpoint, good, 406, "not_acceptable", headers={"Accept": value})
    if endpoint.takes_key:
        for name, value in KEYS.items():
            headers = {"Idempotency-Key": value}
            yield BadInput(f"key-{name}", endpoint, good, code="idempotency_key_invalid", headers=headers)
    yield BadInput(
        "chunked", endpoint, good, code="malformed_request", headers={"Transfer-Encoding": "chunked"}
    )
