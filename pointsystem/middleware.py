"""Middleware of the pages: the REST API and the probes need none of it, and it would cost them time.

Each class is Django's own (or a library's) with one question in front. They are subclasses, not wrappers,
so that Django's system checks still find them.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus

from axes.middleware import AxesMiddleware
from csp.middleware import CSPMiddleware
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import Http404, HttpRequest, HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.utils import timezone
from django_otp.middleware import OTPMiddleware
from structlog.contextvars import bound_contextvars
from whitenoise.middleware import WhiteNoiseMiddleware

from ledger import clock
from ledger.identifiers import uuid7
from pointsystem.api.headers import given_request_id

PATHS_WITHOUT_PAGES = ("/api/v1/", "/healthz", "/readyz", "/metrics")


def is_page(request: HttpRequest) -> bool:
    return not request.path_info.startswith(PATHS_WITHOUT_PAGES)


def client_address(request: HttpRequest) -> str:
    """The address of the peer; what a proxy adds in headers is not believed."""
    return str(request.META.get("REMOTE_ADDR", ""))


class _PagesOnly:
    get_response: Any
    async_capable = False

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_page(request):
            return super().__call__(request)  # type: ignore[misc]
        return self.get_response(request)

    def process_view(self, request: HttpRequest, callback: Any, arguments: Any, keywords: Any) -> Any:
        inherited = getattr(super(), "process_view", None)
        if inherited is None or not is_page(request):
            return None
        return inherited(request, callback, arguments, keywords)


class StaticFiles(_PagesOnly, WhiteNoiseMiddleware):
    pass


class Sessions(_PagesOnly, SessionMiddleware):
    pass


class Csrf(_PagesOnly, CsrfViewMiddleware):
    pass


class Authentication(_PagesOnly, AuthenticationMiddleware):
    pass


class Messages(_PagesOnly, MessageMiddleware):
    pass


class Locale(_PagesOnly, LocaleMiddleware):
    pass


class ContentSecurityPolicy(_PagesOnly, CSPMiddleware):
    pass


class LoginLockout(_PagesOnly, AxesMiddleware):
    pass


class SecondFactor(_PagesOnly, OTPMiddleware):
    pass


class ProgrammeTime:
    """Pages show times as the programme counts its days; the footer names the zone."""

    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            return self.get_response(request)
        with timezone.override(clock.programme_zone()):
            return self.get_response(request)


class WithoutNul:
    """PostgreSQL keeps no NUL characters, so nothing is found by an address that carries one."""

    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_page(request) and "\x00" in request.path + unquote_plus(request.META.get("QUERY_STRING", "")):
            raise Http404
        return self.get_response(request)


class RequestIds:
    """Each page has an id: in its answer, in log lines, and in the audit trail."""

    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page(request):
            return self.get_response(request)
        request_id = given_request_id(request.META) or str(uuid7())
        request.request_id = request_id  # type: ignore[attr-defined]
        with bound_contextvars(request_id=request_id):
            response = self.get_response(request)
        # The API answers unknown addresses too, under an id of its own.
        response.headers.setdefault("X-Request-ID", request_id)
        return response
