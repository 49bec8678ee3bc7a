"""How long a session lasts: not longer than its lifetime, and not longer than nobody used it."""

import time
from collections.abc import Callable
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext as _

from pointsystem.middleware import is_page

#: Pages that refresh themselves send it: looking at a screen that nobody sits at keeps no session open.
AUTOMATIC_REFRESH_HEADER: Final = "X-Automatic-Refresh"

_SIGNED_IN_AT: Final = "signed_in_at"
_USED_AT: Final = "used_at"
#: A session is written at most this often only to note that it is used.
_NOTED_EVERY_SECONDS: Final = 30


def begin(request: HttpRequest) -> None:
    """Note when the session began; called at sign-in."""
    now = int(time.time())
    request.session[_SIGNED_IN_AT] = now
    request.session[_USED_AT] = now


class SessionLimits:
    """Middleware: ends a session that is too old, or that nobody has used for too long."""

    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if is_page(request) and request.user.is_authenticated:
            self._apply(request)
        return self.get_response(request)

    def _apply(self, request: HttpRequest) -> None:
        now = int(time.time())
        session: Any = request.session
        signed_in_at, used_at = session.get(_SIGNED_IN_AT), session.get(_USED_AT)
        if signed_in_at is None or used_at is None:
            begin(request)
            return
        if now - signed_in_at >= settings.POINTS_SESSION_LIFETIME_SECONDS:
            logout(request)
            messages.info(request, _("You were signed out, because you signed in a long time ago."))
        elif now - used_at >= settings.POINTS_SESSION_IDLE_SECONDS:
            logout(request)
            messages.info(request, _("You were signed out, because nothing was done for a while."))
        elif now - used_at >= _NOTED_EVERY_SECONDS and AUTOMATIC_REFRESH_HEADER not in request.headers:
            session[_USED_AT] = now
