"""Mismatches and long runs in the admin: looked at here, resolved and run by the commands."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from cutover.models import Mismatch, Run
from ledger.admin import ReadOnlyAdmin


@admin.register(Mismatch)
class MismatchAdmin(ReadOnlyAdmin):
    """Differences between both sides; `mismatch resolve` says what was done about one."""

    list_display = (
        "id",
        "difference",
        "account_number",
        "subject",
        "said",
        "why",
        "found_by",
        "seen_at",
        "resolved_at",
        "resolved_by",
        "resolution",
    )
    list_filter = ("difference", "found_by", ("resolved_at", admin.EmptyFieldListFilter))
    # Counting by each filter would read the whole table.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    search_fields = ("account_number__exact", "subject__exact")
    search_help_text = _("A whole account number, or a subject")
    ordering = ("-id",)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Migrations, deltas and verifications: how far they came, and what they counted."""

    list_display = (
        "id",
        "kind",
        "accounts_done",
        "accounts_total",
        "rows_done",
        "counts",
        "started_at",
        "changed_at",
        "finished_at",
        "last_error",
    )
    list_filter = ("kind",)
    show_facets = admin.ShowFacets.NEVER
    ordering = ("-id",)
