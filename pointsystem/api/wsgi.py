"""The API's own way from the web server, past Django's request cycle.

Django's handler, with no middleware at all, costs about as much as everything else that a read of a balance
does (docs/adr/0008-lean-views.md). Pages go on to Django; so does an address under /api/ that is none of the
API's, for Django's URL conf ends in the same gateway.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from django.conf import settings

from pointsystem.api.endpoints import VERSION_PREFIX
from pointsystem.api.exchange import STATUS_LINES, Answer
from pointsystem.api.gateway import PROBE_PATHS, answer
from pointsystem.api.headers import Environ

StartResponse = Callable[..., Any]

_OWN_PATHS: Final = PROBE_PATHS | {"/api/schema"}


class ApiBeforeDjango:
    """A WSGI application: the API by itself, everything else through `django`."""

    def __init__(self, django: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._django = django

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path: str = environ.get("PATH_INFO", "")
        if path.startswith(VERSION_PREFIX) or path in _OWN_PATHS:
            answered = answer(environ)
            start_response(STATUS_LINES[answered.status], headers_of(answered))
            return [answered.body]
        return self._django(environ, start_response)


_COMMON_HEADERS: Final = [
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    *(
        [("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains")]
        if settings.SECURE_HSTS_SECONDS
        else []
    ),
]


def headers_of(answered: Answer) -> list[tuple[str, str]]:
    """All headers of an answer, in the form of WSGI."""
    return [
        ("Content-Type", answered.content_type),
        ("Content-Length", str(len(answered.body))),
        *_COMMON_HEADERS,
        *answered.headers,
    ]
