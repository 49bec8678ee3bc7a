"""A model in the admin whose every change is written to the audit trail, in the transaction of the change."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import override

from pointsystem.backoffice import audit

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

#: The field of the forms that asks for a reason; see templates/admin/audited_change_form.html.
REASON_FIELD = "audit_reason"


class Audited(_ModelAdmin):
    """Comes first among the bases. Our trail takes the place of Django's own log, which keeps no values.

    Django calls `log_addition`, `log_change` and `log_deletions` inside the transaction of the change.
    """

    #: What the trail calls it, and which fields it keeps; the subject's id is what people call the row.
    subject_kind: str
    audited_fields: tuple[str, ...] = ()
    change_form_template = "admin/audited_change_form.html"
    actions: Any = None

    def subject_id(self, row: Any) -> str:
        return str(row)

    def state_of(self, row: Any) -> dict[str, Any]:
        """The values that the trail keeps. Relations come as sorted lists of names, which are English whoever
        looks: the trail must not change with the language of a page."""
        state: dict[str, Any] = {}
        with override("en"):
            for name in self.audited_fields:
                value = getattr(row, name)
                state[name] = sorted(str(each) for each in value.all()) if hasattr(value, "all") else value
        return state

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row._before = self.state_of(row)
        return row

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        return super().render_change_form(
            request, {**context, "show_save_and_add_another": False}, *args, **kwargs
        )

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, "created", obj, None, self.state_of(obj))

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        # What hangs on the row was saved past this instance.
        fresh = type(obj)._default_manager.get(pk=obj.pk)
        before, after = audit.differences(obj._before, self.state_of(fresh))
        if before or after:
            self._record(request, "changed", obj, before, after)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for row in queryset:
            self._record(request, "deleted", row, self.state_of(row), None)

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What became of the row is in the trail."""
        if not request.user.has_perm("backoffice.view_audit"):
            raise PermissionDenied
        row = self.get_object(request, object_id)
        query = {"subject_kind": self.subject_kind}
        if row is not None:
            query["q"] = self.subject_id(row)
        address = reverse("admin:backoffice_auditentry_changelist")
        return HttpResponseRedirect(f"{address}?{urlencode(query)}")

    def _record(self, request: HttpRequest, verb: str, row: Any, before: Any, after: Any) -> None:
        audit.record(
            action=f"{self.subject_kind}.{verb}",
            subject_kind=self.subject_kind,
            subject_id=self.subject_id(row),
            reason=request.POST.get(REASON_FIELD, "").strip(),
            before=before,
            after=after,
            request=request,
        )
