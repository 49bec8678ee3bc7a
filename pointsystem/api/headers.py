"""The request headers that the contract gives a meaning, each read strictly.

A web server joins a header that comes twice with a comma (RFC 9110, 5.3). What may come once only is
therefore refused as soon as it holds a comma outside quotes.
"""

import re
from typing import Any, Final

from pointsystem.api.fields import IDENTIFIER
from pointsystem.api.problems import Refused

Environ = dict[str, Any]

MOST_KEY_CHARACTERS: Final = 255
_BARE_KEY: Final = re.compile(r"[!#-+\--~](?:[ -+\--~]*[!-+\--~])?")
_QUOTED_KEY: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_REQUEST_ID: Final = re.compile(IDENTIFIER)
_TRACEPARENT: Final = re.compile("[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CHARSET: Final = re.compile(r'\s*charset\s*=\s*"?utf-8"?\s*', re.IGNORECASE)
_JSON_RANGES: Final = frozenset({"*/*", "application/*", "application/json"})


def idempotency_key(environ: Environ) -> str:
    """The key, bare or as an RFC 8941 string: both are the same key.

    Raises Refused (`idempotency_key_missing`, `idempotency_key_invalid`).
    """
    value = environ.get("HTTP_IDEMPOTENCY_KEY")
    if value is None:
        raise Refused("idempotency_key_missing", "A request that moves points needs an Idempotency-Key.")
    value = value.strip(" \t")
    if value.startswith('"'):
        quoted = _QUOTED_KEY.fullmatch(value)
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    else:
        key = value if _BARE_KEY.fullmatch(value) else ""
    if not 1 <= len(key) <= MOST_KEY_CHARACTERS:
        raise Refused(
            "idempotency_key_invalid",
            "Idempotency-Key must come once, 1 to 255 printable ASCII characters; a comma only in quotes.",
        )
    return key


def check_content_type(environ: Environ) -> None:
    """Only JSON in UTF-8, as it is. Raises Refused (`unsupported_media_type`)."""
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type != "application/json" and not _is_json(content_type):
        raise Refused("unsupported_media_type", "The content type must be application/json, in UTF-8.")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Refused("unsupported_media_type", "No content encoding is accepted.")


def _is_json(content_type: str) -> bool:
    media_type, *parameters = content_type.split(";")
    if media_type.strip(" \t").lower() != "application/json":
        return False
    return all(_CHARSET.fullmatch(parameter) or not parameter.strip() for parameter in parameters)


def check_accept(environ: Environ) -> None:
    """The client must take JSON. Raises Refused (`not_acceptable`)."""
    accept = environ.get("HTTP_ACCEPT")
    if accept is None or accept in _JSON_RANGES or not accept.strip():
        return
    quality: dict[str, float] = {}
    for part in accept.split(","):
        media_range, *parameters = [piece.strip(" \t").lower() for piece in part.split(";")]
        if media_range in _JSON_RANGES:
            quality[media_range] = _quality(parameters)
    # The most specific range decides (RFC 9110, 12.5.1).
    for media_range in ("application/json", "application/*", "*/*"):
        if media_range in quality:
            if quality[media_range] > 0:
                return
            break
    raise Refused("not_acceptable", "The answer is application/json.")


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def prefers_async(environ: Environ) -> bool:
    """Whether `Prefer: respond-async` (RFC 7240) is among the preferences."""
    value = environ.get("HTTP_PREFER")
    if value is None:
        return False
    return any(part.split(";")[0].strip(" \t").lower() == "respond-async" for part in value.split(","))


def given_request_id(environ: Environ) -> str | None:
    """The caller's X-Request-ID where it is an identifier; any other is as good as none."""
    value = environ.get("HTTP_X_REQUEST_ID")
    if value is not None and _REQUEST_ID.fullmatch(value):
        return str(value)
    return None


def given_traceparent(environ: Environ) -> str | None:
    """The caller's W3C trace context, where it is one; it goes into the log lines, also those of tasks."""
    value = environ.get("HTTP_TRACEPARENT")
    return str(value) if value is not None and _TRACEPARENT.fullmatch(value) else None
