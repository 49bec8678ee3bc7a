"""The second factor: a code of six digits that changes every 30 seconds (TOTP, RFC 6238).

Optional per person, and asked of all staff with POINTS_REQUIRE_TOTP. Whoever has set one up is always asked.
"""

import math
from base64 import b32encode
from dataclasses import dataclass
from typing import Any

import django_otp
import segno
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django_otp.plugins.otp_totp.models import TOTPDevice

from pointsystem.backoffice import audit


class CodeRefused(Exception):
    """The code is wrong, was used already, or may not be tried yet; the message says which, in words."""

    def __init__(self, words: "str | Promise") -> None:
        super().__init__(words)
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What an authenticator app needs: as an image, as a link, and to be typed."""

    typed: str
    link: str
    image: str


def device_of(user: Any) -> TOTPDevice | None:
    """The authenticator that `user` has set up, or None."""
    found: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=True).order_by("id").first()
    return found


def is_missing(request: HttpRequest) -> bool:
    """Whether who is signed in must still give a code (or set it up) before any page opens."""
    user: Any = request.user
    if user.is_verified():
        return False
    if settings.POINTS_REQUIRE_TOTP:
        return True
    # Asked several times for one page.
    if not hasattr(request, "_has_second_factor"):
        request._has_second_factor = device_of(user) is not None  # type: ignore[attr-defined]
    return bool(request._has_second_factor)  # type: ignore[attr-defined]


def begin(*, user: Any) -> TOTPDevice:
    """The authenticator that `user` is about to set up; it counts only after its first code."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        waiting: TOTPDevice | None = TOTPDevice.objects.filter(user=user, confirmed=False).first()
        if waiting is None:
            waiting = TOTPDevice.objects.create(user=user, name="authenticator", confirmed=False)
    return waiting


def secret_of(device: TOTPDevice) -> Secret:
    typed = b32encode(device.bin_key).decode().rstrip("=")
    return Secret(
        typed=" ".join(typed[start : start + 4] for start in range(0, len(typed), 4)),
        link=device.config_url,
        image=segno.make(device.config_url, error="m").svg_inline(scale=4, border=2, omitsize=True),
    )


def confirm(*, request: HttpRequest, code: str) -> None:
    """Set up the authenticator that `begin` made, with its first code. Raises CodeRefused.

    Any other authenticator of this person ends. The session counts as verified, under a new session key.
    """
    user: Any = request.user
    waiting = TOTPDevice.objects.filter(user=user, confirmed=False).first()
    device = _checked(request=request, device=waiting, code=code)
    with transaction.atomic():
        TOTPDevice.objects.filter(user=user).exclude(pk=device.pk).delete()
        TOTPDevice.objects.filter(pk=device.pk).update(confirmed=True)
        audit.record(
            action="second_factor.set_up",
            subject_kind="user",
            subject_id=user.get_username(),
            request=request,
        )
    device.confirmed = True
    _let_in(request, device)


def verify(*, request: HttpRequest, code: str) -> None:
    """Count the session as verified. Raises CodeRefused."""
    device = _checked(request=request, device=device_of(request.user), code=code)
    with transaction.atomic():
        audit.record(
            action="sign_in.verified",
            subject_kind="user",
            subject_id=request.user.get_username(),
            request=request,
        )
    _let_in(request, device)


def remove(*, user: Any, request: HttpRequest | None = None, reason: str = "") -> int:
    """Take the authenticators of `user` away, and write down who did; how many there were."""
    with transaction.atomic():
        count, _rows = TOTPDevice.objects.filter(user=user).delete()
        audit.record(
            action="second_factor.removed",
            subject_kind="user",
            subject_id=user.get_username(),
            reason=reason,
            before={"authenticators": count},
            after={"authenticators": 0},
            request=request,
        )
    return count


def _checked(*, request: HttpRequest, device: TOTPDevice | None, code: str) -> TOTPDevice:
    """The authenticator, when `code` is its code. Raises CodeRefused; then the next code must wait longer."""
    if device is None:
        raise CodeRefused(_("There is no authenticator to check the code with. Begin again."))
    allowed, why = device.verify_is_allowed()
    if not allowed:
        locked_until = (why or {}).get("locked_until", timezone.now())
        seconds = max(1, math.ceil((locked_until - timezone.now()).total_seconds()))
        raise CodeRefused(
            ngettext(
                "Too many wrong codes. Try again in %(seconds)d second.",
                "Too many wrong codes. Try again in %(seconds)d seconds.",
                seconds,
            )
            % {"seconds": seconds}
        )
    digits = code.replace(" ", "")
    # verify_token() locks the row, so that one code opens one session only.
    if django_otp.verify_token(request.user, device.persistent_id, digits) is None:
        with transaction.atomic():
            audit.record(
                action="sign_in.code_refused",
                subject_kind="user",
                subject_id=request.user.get_username(),
                request=request,
            )
        raise CodeRefused(_("This code is wrong, or was used already. Wait for the next one."))
    return device


def _let_in(request: HttpRequest, device: TOTPDevice) -> None:
    request.session.cycle_key()
    django_otp.login(request, device)
