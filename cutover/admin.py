"""The cutover in the admin: looked at here, and changed by its commands."""

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from cutover import callers, callers_report
from cutover.models import CallerScan
from ledger import clock
from ledger.admin import ReadOnlyAdmin

#: What can be chosen on the page; None is all that was counted.
_WINDOWS: Final = ((1, _("today")), (7, _("7 days")), (30, _("30 days")), (None, _("all")))


@admin.register(CallerScan)
class CallersAdmin(ReadOnlyAdmin):
    """One page instead of a list: who calls procedures directly, beside the clients of the API."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        days = _days(request.GET.get("days", ""))
        since = None
        if days is not None:
            since = callers.today(clock.now()) - timedelta(days=days - 1)
        found = callers_report.report(since=since)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Who calls procedures directly"),
            "opts": self.opts,
            "report": found,
            "sections": [
                (_("Called directly"), found.direct),
                (_("Not known yet: the account has an operation that is not settled"), found.undecided),
                (_("Through the API"), found.through_api),
            ],
            "windows": [(number, text, number == days) for number, text in _WINDOWS],
            "zone": clock.programme_zone(),
            "has_legacy": settings.HAS_LEGACY,
        }
        return TemplateResponse(request, "admin/cutover/callers.html", context)


def _days(text: str) -> int | None:
    """The window that was asked for; anything else is all."""
    return next((number for number, _text in _WINDOWS if number is not None and str(number) == text), None)
