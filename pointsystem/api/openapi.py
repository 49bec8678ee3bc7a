"""The OpenAPI 3.1 document, made from the table of endpoints and the structs that validate."""

from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from pointsystem.api import problems
from pointsystem.api.endpoints import ENDPOINTS, Endpoint
from pointsystem.api.fields import IDENTIFIER
from pointsystem.api.problems import CODES, INTERNAL_ERROR, Problem
from pointsystem.api.requests import BATCH_ITEMS

VERSION: Final = "1.0.0"
_REFERENCE: Final = "#/components/schemas/{name}"

_DESCRIPTION: Final = """Points earned, spent, cancelled and given, in a ledger that only ever adds.

Every POST that moves points needs an `Idempotency-Key`: sent again with the same key, a request gives its
first outcome again, with `Idempotency-Replayed: true`. Errors are `application/problem+json`; branch on
`code`. Times are RFC 3339 with offset, points are whole numbers."""

_REQUEST_ID: Final = {
    "schema": {"type": "string", "pattern": f"^{IDENTIFIER}$"},
    "description": "Names this request in the logs: the caller's own X-Request-ID, or a new one.",
}


@cache
def document() -> dict[str, Any]:
    """The document; the same for the life of the process."""
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Point system", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "headers": {"X-Request-ID": _REQUEST_ID},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key made by `create_client`."}
            },
        },
    }


@cache
def document_bytes() -> bytes:
    return msgspec.json.encode(document())


def _structs() -> list[type]:
    found: list[type] = [Problem, *BATCH_ITEMS.values()]
    for endpoint in ENDPOINTS:
        found.extend(struct for struct in endpoint.answers.values() if struct is not None)
        if endpoint.body is not None:
            found.append(endpoint.body)
    return list(dict.fromkeys(found))


def _schemas() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(_structs(), ref_template=_REFERENCE)
    closed: dict[str, Any] = {}
    for name, schema in sorted(schemas.items()):
        closed[name] = dict(schema)
        if schema.get("type") == "object":
            # What goes out is exactly this, too.
            closed[name]["additionalProperties"] = False
    closed["Problem"]["properties"]["code"] = {"enum": [*CODES, INTERNAL_ERROR]}
    return closed


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [_tag(endpoint)],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint),
    }
    if endpoint.scope is not None:
        operation["description"] = f"Needs the scope `{endpoint.scope.value}`."
    if endpoint.is_open:
        operation["security"] = []
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(endpoint.body)}},
        }
    return operation


def _tag(endpoint: Endpoint) -> str:
    if endpoint.is_open:
        return "service"
    return "accounts" if "{account_number}" in endpoint.path else "operations"


def _reference(struct: type) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=struct.__name__)}


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = []
    for segment in endpoint.segments:
        if segment.startswith("{"):
            name = segment.strip("{}")
            # A malformed operation id is an unknown one; a malformed account number is refused.
            pattern = {"pattern": f"^{IDENTIFIER}$"} if name == "account_number" else {"format": "uuid"}
            parameters.append(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string", **pattern}}
            )
    if endpoint.parameters is not None:
        schema = msgspec.json.schema(endpoint.parameters)["$defs"][endpoint.parameters.__name__]
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": part}
            for name, part in schema["properties"].items()
        ]
    if endpoint.takes_key:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": True,
                "description": "Bare, or quoted as in RFC 8941; a comma only in quotes.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _BARE_KEY},
            }
        )
    if endpoint.may_be_async:
        parameters.append(
            {
                "name": "Prefer",
                "in": "header",
                "required": False,
                "description": "With respond-async the operation is accepted durably (202), and done soon.",
                "schema": {"type": "string", "examples": ["respond-async"]},
            }
        )
    return parameters


_BARE_KEY: Final = r"^[!#-+\-.-~]([ -+\-.-~]{0,253}[!-+\-.-~])?$"


def problem_codes(endpoint: Endpoint) -> list[str]:
    """The codes of the problems that `endpoint` can answer with, in the order of the list."""
    codes = ["malformed_request", "validation_failed", "method_not_allowed", *endpoint.problems]
    if not endpoint.is_open:
        codes += ["not_authenticated", "rate_limited", "not_acceptable", "database_unavailable"]
    if endpoint.scope is not None:
        codes.append("scope_missing")
    if endpoint.takes_key:
        codes += ["idempotency_key_missing", "idempotency_key_invalid"]
    if endpoint.body is not None:
        codes += ["payload_too_large", "unsupported_media_type"]
    return [code for code in CODES if code in codes]


def _responses(endpoint: Endpoint) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, struct in endpoint.answers.items():
        answers[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _answer_headers(endpoint, status),
            "content": {"application/json": {"schema": _reference(struct)}}
            if struct
            else _other_content(endpoint),
        }
    by_status: dict[int, list[str]] = {}
    for code in problem_codes(endpoint):
        by_status.setdefault(CODES[code].status, []).append(code)
    for status, codes in by_status.items():
        described = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "headers": _problem_headers(status),
            "content": {problems.CONTENT_TYPE: {"schema": _reference(Problem)}},
        }
        known = answers.setdefault(str(status), described)
        if known is not described:
            known["content"] |= described["content"]
    return answers


def _other_content(endpoint: Endpoint) -> dict[str, Any]:
    if endpoint.name == "metrics":
        return {"text/plain": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": {"type": "object"}}}


def _answer_headers(endpoint: Endpoint, status: int) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
    if endpoint.takes_key:
        headers["Idempotency-Replayed"] = {
            "schema": {"const": "true"},
            "description": "This is the first outcome of an earlier request with the same key.",
        }
        headers["Location"] = {"schema": {"type": "string"}, "description": "The address of the operation."}
    if status == 202:
        headers["Preference-Applied"] = {"schema": {"const": "respond-async"}}
    return headers


def _problem_headers(status: int) -> dict[str, Any]:
    headers: dict[str, Any] = {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}}
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "integer", "minimum": 1}, "description": "In seconds."}
    if status == 405:
        headers["Allow"] = {"schema": {"type": "string"}}
    return headers
