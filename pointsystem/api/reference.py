"""docs/reference/api.md and errors.md, written from the table of endpoints."""

from pathlib import Path
from typing import Any, Final

import msgspec

from pointsystem.api.endpoints import ENDPOINTS, Endpoint
from pointsystem.api.openapi import document, problem_codes
from pointsystem.api.problems import CODES

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "docs" / "reference"

_API_HEAD: Final = """# The REST API

Written from the table of endpoints by `manage.py write_api_reference`; do not edit by hand. The same as
OpenAPI 3.1 is served at `/api/schema`, with a page to read and try it at `/api/docs`.

- `Authorization: Bearer KEY`, with a key made by `manage.py create_client`. Keys end by `revoke_client`,
  within a second, or by the overlap of their rotation.
- JSON in UTF-8, in and out. Unknown members and parameters, names that stand twice, and numbers that are
  no integer literals are refused. A request may have 64 KiB, a batch 2 MiB, and must say its
  `Content-Length`.
- Every POST that moves points needs `Idempotency-Key`: 1 to 255 printable ASCII characters, bare or
  quoted as in RFC 8941 (both are the same key; a comma only in quotes). The same request with the same
  key gives its first outcome again, status and body byte for byte, with `Idempotency-Replayed: true`.
  Keys never expire.
- `X-Request-ID` is taken over when it is 1 to 64 characters of `A-Z a-z 0-9 . _ : -`, and made
  otherwise; it comes back, and stands in every log line of the request. The id that is made for a write
  is the id of its operation.
- Points are whole numbers from 1 to 1,000,000,000. Times are RFC 3339 with offset, up to microseconds;
  answers are in UTC. In a query a `+` is a plus.
- Lists are pages `{data, next, previous}`: give `next` or `previous` back as `cursor`. A page has 50
  rows, or `page_size`, at most 200.
- Errors are `application/problem+json` with a `code` of a closed list: [errors.md](errors.md).
"""

_ERRORS_HEAD: Final = """# Errors

Written from the list of codes by `manage.py write_api_reference`; do not edit by hand.

`application/problem+json` (RFC 9457): `{type, title, status, code, detail, errors?, request_id,
operation_id?}`. Branch on `code`; `detail` is for people and may change. `errors` lists everything that
is wrong with a request at once, as `{field, code, message}`. `type` is `urn:pointsystem:problem:CODE`.

The refusals `insufficient_points`, `account_blocked`, `earn_already_spent` and `not_cancellable` are
outcomes: they are stored with the key and come again, byte for byte, whatever has changed since. They
name their operation in `operation_id`, and `request_id` is that id too; the request at hand is named by
the header `X-Request-ID`. All others leave no trace, and the same key may be sent again.

With 429 and 503, and with 409 `operation_in_progress`, `Retry-After` says after how many seconds.

| status | code | what to do |
|---|---|---|
"""

_ERRORS_TAIL: Final = """
Beside the list stands 500 `internal_error`: a mistake of the product itself. It tells nothing but the
`request_id`, under which the log has the rest. The same key is safe to send again.

## Codes of fields

| code | means |
|---|---|
| `missing` | the field is required |
| `unknown_field` | there is no such field or parameter |
| `repeated`, `duplicate` | a parameter, or a name in a JSON object, stands twice |
| `wrong_type` | another JSON type than the field's |
| `out_of_range` | a number that is too small or too large |
| `bad_format` | text that does not have the form of the field |
| `bad_value` | anything else that the field cannot hold |
| `unknown_reason`, `reason_not_allowed` | no such reason, or not for this kind of operation |
| `in_the_past`, `in_the_future`, `too_far_ahead`, `too_far_back` | a time that cannot be meant |
| `same_account` | a transfer from an account to itself |
| `invalid` | a cursor that this list did not give |
"""


def api_reference() -> str:
    parts = [_API_HEAD]
    for endpoint in ENDPOINTS:
        parts.append(_endpoint(endpoint))
    return "\n".join(parts)


def errors_reference() -> str:
    rows = [f"| {meaning.status} | `{code}` | {meaning.advice} |" for code, meaning in CODES.items()]
    return _ERRORS_HEAD + "\n".join(rows) + "\n" + _ERRORS_TAIL


def _endpoint(endpoint: Endpoint) -> str:
    lines = [f"## {endpoint.method} {endpoint.path}", "", f"{endpoint.summary}.", ""]
    if endpoint.is_open:
        lines.append("- needs no key")
    elif endpoint.scope is not None:
        lines.append(f"- scope `{endpoint.scope.value}`")
    else:
        lines.append("- each item needs the scope of its kind")
    if endpoint.takes_key:
        lines.append("- needs `Idempotency-Key`")
    if endpoint.may_be_async:
        lines.append("- `Prefer: respond-async`: accepted durably (202), done in order soon after")
    if endpoint.parameters is not None:
        lines.append(
            "- parameters: " + _members(msgspec.json.schema(endpoint.parameters), endpoint.parameters)
        )
    if endpoint.body is not None:
        lines.append("- body: " + _members(document()["components"]["schemas"], endpoint.body))
    statuses = [
        str(status) + (f" `{struct.__name__}`" if struct else "")
        for status, struct in endpoint.answers.items()
    ]
    lines.append("- answers: " + ", ".join(statuses))
    lines.append("- problems: " + ", ".join(f"`{code}`" for code in problem_codes(endpoint)))
    return "\n".join(lines) + "\n"


def _members(schemas: dict[str, Any], struct: type) -> str:
    schema = schemas.get("$defs", schemas)[struct.__name__]
    required = schema.get("required", ())
    return ", ".join(f"`{name}`" + ("" if name in required else "?") for name in schema["properties"])
