"""Sign-ins, sign-outs and lockouts, written to the audit trail."""

from typing import Any

from axes.signals import user_locked_out
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest

from pointsystem.backoffice import audit
from pointsystem.backoffice.sign_in import sessions


def connect() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="backoffice.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="backoffice.signed_out")
    user_login_failed.connect(_failed, dispatch_uid="backoffice.sign_in_failed")
    user_locked_out.connect(_locked_out, dispatch_uid="backoffice.locked_out")


def _signed_in(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    sessions.begin(request)
    _record("sign_in.succeeded", user=user, request=request, person=user)


def _signed_out(sender: Any, request: HttpRequest, user: Any, **_: Any) -> None:
    if user is not None:
        _record("sign_in.ended", user=user, request=request, person=user)


def _failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    user = _user(credentials.get("username"))
    if user is not None and not _was_locked_before(request):
        _record("sign_in.failed", user=user, request=request)


def _locked_out(sender: Any, request: HttpRequest, username: str, **_: Any) -> None:
    user = _user(username)
    if user is not None and not _was_locked_before(request):
        _record("sign_in.locked_out", user=user, request=request)


def _was_locked_before(request: HttpRequest | None) -> bool:
    """Each attempt on a locked login would add a row, and the lockout is written already.

    axes marks both; only for the attempt that locks does it count how many there were.
    """
    is_locked = bool(getattr(request, "axes_locked_out", False))
    return is_locked and not getattr(request, "axes_failures_since_start", None)


def _user(username: str | None) -> Any:
    """The user of that name, if there is one: what else was typed may be a password, and is not kept."""
    return get_user_model().objects.filter(username=username).first() if username else None


def _record(action: str, *, user: Any, request: HttpRequest | None, person: Any = None) -> None:
    with transaction.atomic():
        audit.record(
            action=action,
            subject_kind="user",
            subject_id=user.get_username(),
            request=request,
            person=person,
        )
