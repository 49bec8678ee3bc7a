"""The admin site of the back office: who comes in, and what they find first."""

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice import menu, pages
from pointsystem.backoffice.sign_in import second_factor
from pointsystem.backoffice.sign_in.forms import SignInForm
from pointsystem.backoffice.sign_in.views import SecondFactorPages

#: Where an account is looked for from the landing page, and the parameter that carries the words.
_SEARCH_PAGES: Final = ("admin:support_search", "admin:ledger_account_changelist")


class BackOfficeSite(admin.AdminSite):
    site_header = _("Points back office")
    site_title = _("Points back office")
    index_title = _("What you can do here")
    site_url = None
    login_form = SignInForm
    index_template = "admin/index.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Active staff, with the second factor where it is asked for."""
        return super().has_permission(request) and not second_factor.is_missing(request)

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Ask for the password; whoever has given it goes on to the second factor."""
        gave_password = super().has_permission(request)
        if request.method == "GET" and gave_password and second_factor.is_missing(request):
            query = urlencode({"next": request.GET.get("next", "")})
            return HttpResponseRedirect(f"{reverse('admin:second_factor')}?{query}")
        answer: HttpResponse = super().login(request, extra_context)
        return answer

    def get_urls(self) -> list[Any]:
        second = SecondFactorPages(self)
        return [
            path("second-factor/", second.ask, name="second_factor"),
            path("second-factor/set-up/", second.set_up, name="second_factor_set_up"),
            *pages.urls(wrap=self.admin_view),
            *super().get_urls(),
        ]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        if app_label is not None:
            return super().get_app_list(request, app_label)
        if not self.has_permission(request):
            # Who has given only the password so far sees nothing, not even what there is.
            return []
        return menu.grouped(app_list=super().get_app_list(request), user=request.user)

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """The landing page: what this person can do, in words, and a search for an account."""
        from pointsystem.backoffice.roles import roles_of

        user: Any = request.user
        found = {
            "roles": roles_of(user),
            "search_url": _search_url() if user.has_perm("backoffice.view_accounts") else None,
            "has_second_factor": user.is_verified(),
        }
        return super().index(request, {**found, **(extra_context or {})})


def _search_url() -> str | None:
    for name in _SEARCH_PAGES:
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return None
