"""The audit trail for auditors: found by person, action and subject, and taken away as CSV."""

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from ledger.admin import ReadOnlyAdmin
from pointsystem.backoffice.models import AuditEntry

VIEW: Final = "backoffice.view_audit"
_COLUMNS: Final = (
    "id",
    "at",
    "username",
    "action",
    "subject_kind",
    "subject_id",
    "reason",
    "before",
    "after",
    "request_id",
    "ip",
)
#: What the kinds of subjects are called.
SUBJECTS: Final = {
    "account": _("account"),
    "client": _("client"),
    "cohort": _("cohort"),
    "group": _("group"),
    "mass_grant": _("mass grant"),
    "operation": _("operation"),
    "reason": _("reason"),
    "request": _("request"),
    "user": _("person"),
}
#: Each value of an indexed column once, without reading every row of it.
_DISTINCT: Final = """
WITH RECURSIVE found AS (
    (SELECT {column} AS value FROM backoffice_audit_entry ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT (
        SELECT {column} FROM backoffice_audit_entry WHERE {column} > found.value ORDER BY {column} LIMIT 1
    )
    FROM found WHERE found.value IS NOT NULL
)
SELECT value FROM found WHERE value IS NOT NULL
"""


def _distinct(column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_DISTINCT.format(column=column))
        return [value for (value,) in cursor.fetchall()]


class PersonFilter(admin.SimpleListFilter):
    title = _("person")
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        people = get_user_model().objects.filter(is_staff=True).order_by("username")
        return [(str(user.pk), user.get_username()) for user in people]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        value = self.value()
        return queryset.filter(person_id=int(value)) if value and value.isdecimal() else queryset


class ActionFilter(admin.SimpleListFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action, action) for action in _distinct("action")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


class SubjectFilter(admin.SimpleListFilter):
    title = _("subject")
    parameter_name = "subject_kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, str(SUBJECTS.get(kind, kind))) for kind in _distinct("subject_kind")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(subject_kind=self.value()) if self.value() else queryset


class SinceFilter(admin.SimpleListFilter):
    title = _("time")
    parameter_name = "days"
    days: Final = (("1", _("the last day")), ("7", _("the last 7 days")), ("30", _("the last 30 days")))

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return self.days

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if self.value() not in dict(self.days):
            return queryset
        return queryset.filter(at__gte=timezone.now() - timedelta(days=int(self.value() or 0)))


class _Line:
    """What csv.writer writes to: it hands the line back."""

    def write(self, line: str) -> str:
        return line


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "username", "action", "subject", "reason", "ip")
    list_display_links = ("at",)
    list_filter = (PersonFilter, ActionFilter, SubjectFilter, SinceFilter)
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("subject_id__exact",)
    search_help_text = _("What it was done to: an account number, a username, a name")
    ordering = ("-id",)
    change_list_template = "admin/audit_change_list.html"
    fields = (
        "at",
        "username",
        "action",
        "subject",
        "reason",
        "before_in_lines",
        "after_in_lines",
        "request_id",
        "ip",
    )
    readonly_fields = fields

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(VIEW)

    @admin.display(description=_("subject"))
    def subject(self, entry: AuditEntry) -> str:
        return f"{SUBJECTS.get(entry.subject_kind, entry.subject_kind)} {entry.subject_id}"

    @admin.display(description=_("before"))
    def before_in_lines(self, entry: AuditEntry) -> str:
        return _in_lines(entry.before)

    @admin.display(description=_("after"))
    def after_in_lines(self, entry: AuditEntry) -> str:
        return _in_lines(entry.after)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        return [path("export/", wrap(self.export), name="backoffice_auditentry_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """All entries that the filters of the list leave, as CSV, oldest first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:backoffice_auditentry_changelist"))
        rows = found.order_by("id").values_list(*_COLUMNS).iterator(chunk_size=1000)
        answer = StreamingHttpResponse(_lines(rows), content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = 'attachment; filename="audit-trail.csv"'
        return answer


def _in_lines(values: Any) -> str:
    if values is None:
        return "-"
    return format_html("<pre>{}</pre>", json.dumps(values, indent=2, ensure_ascii=False, sort_keys=True))


def _lines(rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(_COLUMNS)
    for row in rows:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> str:
    """A text that begins like a formula is told to be text: spreadsheets would run it."""
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
