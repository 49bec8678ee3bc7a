"""The pages of the second factor. Who is signed in with a password, and no more, can open only these."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from axes.helpers import get_cool_off, get_failure_limit
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from pointsystem.backoffice.sign_in import second_factor
from pointsystem.backoffice.sign_in.forms import CodeForm

if TYPE_CHECKING:
    from pointsystem.backoffice.site import BackOfficeSite


class SecondFactorPages:
    """The pages of one admin site."""

    def __init__(self, site: "BackOfficeSite") -> None:
        self.site = site

    def ask(self, request: HttpRequest) -> HttpResponseBase:
        """Ask for a code, once after each sign-in."""
        return _protected(self._ask)(request)

    def set_up(self, request: HttpRequest) -> HttpResponseBase:
        """Show the secret, and take the first code."""
        return _protected(self._set_up)(request)

    def _ask(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_signed_in_staff(request):
            return redirect_to_login(_next(request), reverse("admin:login"))
        if not second_factor.is_missing(request):
            return HttpResponseRedirect(_next(request))
        if second_factor.device_of(request.user) is None:
            return HttpResponseRedirect(f"{reverse('admin:second_factor_set_up')}?{_query(request)}")
        form = CodeForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                second_factor.verify(request=request, code=form.cleaned_data["code"])
                return HttpResponseRedirect(_next(request))
            except second_factor.CodeRefused as refused:
                form.add_error("code", str(refused.words))
        return self._page(request, "admin/second_factor.html", title=_("Enter your code"), form=form)

    def _set_up(self, request: HttpRequest) -> HttpResponseBase:
        if not _is_signed_in_staff(request):
            return redirect_to_login(_next(request), reverse("admin:login"))
        if second_factor.device_of(request.user) is not None and second_factor.is_missing(request):
            # Otherwise who only knows the password could put an authenticator of their own in its place.
            return HttpResponseRedirect(f"{reverse('admin:second_factor')}?{_query(request)}")
        form = CodeForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                second_factor.confirm(request=request, code=form.cleaned_data["code"])
            except second_factor.CodeRefused as refused:
                form.add_error("code", str(refused.words))
            else:
                messages.success(
                    request, _("Your authenticator is set up. You are asked for a code from now on.")
                )
                return HttpResponseRedirect(_next(request))
        return self._page(
            request,
            "admin/second_factor_set_up.html",
            title=_("Set up your authenticator"),
            form=form,
            secret=second_factor.secret_of(second_factor.begin(user=request.user)),
            is_required=settings.POINTS_REQUIRE_TOTP,
            replaces=second_factor.device_of(request.user) is not None,
        )

    def _page(self, request: HttpRequest, template: str, **values: Any) -> HttpResponse:
        context = {**self.site.each_context(request), "next": _next(request), **values}
        return TemplateResponse(request, template, context)


def locked_out(request: HttpRequest, response: Any = None, credentials: Any = None) -> HttpResponse:
    """What axes answers while a login is locked: in words, why, and for how long."""
    cool_off = get_cool_off(request) or timedelta()
    context = {
        **admin.site.each_context(request),
        "title": _("This login is locked"),
        "failure_limit": get_failure_limit(request, credentials),
        "minutes": math.ceil(cool_off.total_seconds() / 60),
    }
    answer = TemplateResponse(request, "admin/locked_out.html", context, status=429).render()
    answer.headers["Retry-After"] = str(math.ceil(cool_off.total_seconds()))
    return answer


def _protected(view: Any) -> Any:
    return sensitive_post_parameters("code")(csrf_protect(never_cache(view)))


def _is_signed_in_staff(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_staff


def _next(request: HttpRequest) -> str:
    """Where to go then: an address of ours, or the landing page."""
    asked = request.POST.get("next") or request.GET.get("next") or ""
    if url_has_allowed_host_and_scheme(
        asked, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return asked
    return reverse("admin:index")


def _query(request: HttpRequest) -> str:
    return urlencode({"next": _next(request)})
