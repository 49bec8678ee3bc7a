"""The cutover in the admin: looked at here, and changed by its commands."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from cutover import admin_comparing, admin_messages, callers, callers_report
from cutover.models import CallerScan, Intent, Route
from ledger import clock
from ledger.admin import ReadOnlyAdmin

__all__ = ["CallersAdmin", "IntentAdmin", "RouteAdmin", "admin_comparing", "admin_messages"]

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


@admin.register(Route)
class RouteAdmin(ReadOnlyAdmin):
    """Who decides for which accounts."""

    list_display = ["cohort", "stage", "epoch", "changed_at"]
    ordering = ["cohort"]


@admin.register(Intent)
class IntentAdmin(ReadOnlyAdmin):
    """What was given to the legacy, and what came of it; `in_doubt decide` ends what it cannot tell."""

    list_display = [
        "operation_id",
        "account_number",
        "state",
        "attempts",
        "opened_at",
        "settled_at",
        "settled_by",
        "last_error",
    ]
    list_filter = ["state"]
    # Counting by state would read the whole table.
    show_facets = admin.ShowFacets.NEVER
    search_fields = ["operation_id__exact", "account_number__exact"]
    search_help_text = _("An operation id or a whole account number")
    ordering = ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Intent], search_term: str
    ) -> tuple[QuerySet[Intent], bool]:
        """Both are found by an index: the one by its form, the other as it is."""
        term = search_term.strip()
        if not term:
            return queryset, False
        with suppress(ValueError):
            return queryset.filter(operation_id=UUID(term)), False
        return queryset.filter(account_number=term), False


def _days(text: str) -> int | None:
    """The window that was asked for; anything else is all."""
    return next((number for number, _text in _WINDOWS if number is not None and str(number) == text), None)
