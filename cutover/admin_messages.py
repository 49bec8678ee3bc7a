"""Mirror messages in the admin: what was told, what failed, and sending again or skipping what is parked."""

from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from cutover.mirroring import handling
from cutover.models import MirrorMessage
from ledger.admin import ReadOnlyAdmin
from ledger.told import told

_SHOWN_AT_MOST: Final = 100


@admin.register(MirrorMessage)
class MirrorMessageAdmin(ReadOnlyAdmin):
    """Read only but for two actions, which show what they would do before they do it."""

    list_display = (
        "id",
        "account_number",
        "direction",
        "operation_id",
        "state",
        "failure",
        "attempts",
        "created_at",
        "settled_at",
        "settled_by",
        "last_error",
    )
    list_filter = ("state", "direction", "failure")
    # Counting by state would read the whole table.
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    search_fields = ("account_number__exact",)
    search_help_text = _("A whole account number")
    ordering = ("-id",)
    actions = ("send_again", "skip")  # type: ignore[assignment]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[MirrorMessage], search_term: str
    ) -> tuple[QuerySet[MirrorMessage], bool]:
        """Found by an index."""
        term = search_term.strip()
        return (queryset.filter(account_number=term) if term else queryset), False

    def has_handle_permission(self, request: HttpRequest) -> bool:
        """Whether this person may send again and skip."""
        return bool(request.user.has_perm("backoffice.operate_cutover"))

    @admin.action(description=_("Send again what is parked"), permissions=["handle"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[MirrorMessage]) -> HttpResponse | None:
        return self._handle(request, queryset, verb="send_again")

    @admin.action(description=_("Skip what is parked, with a reason"), permissions=["handle"])
    def skip(self, request: HttpRequest, queryset: QuerySet[MirrorMessage]) -> HttpResponse | None:
        return self._handle(request, queryset, verb="skip")

    def _handle(
        self, request: HttpRequest, queryset: QuerySet[MirrorMessage], *, verb: str
    ) -> HttpResponse | None:
        """Show what would be done; do it once it was confirmed."""
        if not self.has_handle_permission(request):
            raise PermissionDenied
        ids = list(queryset.order_by("id").values_list("id", flat=True))
        if request.POST.get("confirmed") != "yes":
            return self._ask(request, ids, verb=verb)
        actor, reason = str(request.user.get_username()), request.POST.get("reason", "")
        try:
            if verb == "skip":
                handled = handling.skip(message_ids=ids, actor=actor, reason=reason)
            else:
                handled = handling.resend(message_ids=ids, actor=actor, reason=reason)
        except handling.HandlingRefused as refused:
            self.message_user(request, told(str(refused)), level=messages.ERROR)
            return self._ask(request, ids, verb=verb)
        counts: dict[str, int] = {}
        for each in handled:
            counts[each.outcome.value] = counts.get(each.outcome.value, 0) + 1
        self.message_user(request, ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
        return None

    def _ask(self, request: HttpRequest, ids: list[int], *, verb: str) -> HttpResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": _now("Skip messages") if verb == "skip" else _now("Send messages again"),
            "opts": self.opts,
            "verb": verb,
            "is_skip": verb == "skip",
            "ids": ids,
            "previews": handling.preview(ids[:_SHOWN_AT_MOST]),
            "not_shown": max(0, len(ids) - _SHOWN_AT_MOST),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/cutover/handle_messages.html", context)
