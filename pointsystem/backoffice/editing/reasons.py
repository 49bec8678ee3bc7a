"""Reasons and their policies, with the audit trail."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from ledger.admin import PolicyInline, ReasonAdmin
from ledger.models import Reason
from pointsystem.backoffice.editing.audited import Audited

MANAGE = "backoffice.manage_reasons"


class AuditedPolicyInline(PolicyInline):
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE) or super().has_view_permission(request, obj)


class AuditedReasonAdmin(Audited, ReasonAdmin):
    subject_kind = "reason"
    audited_fields = ("code", "label", "kinds", "is_active")
    inlines = (AuditedPolicyInline,)

    def subject_id(self, row: Any) -> str:
        return str(row.code)

    def state_of(self, row: Any) -> dict[str, Any]:
        policies = row.policies.order_by("version").values(
            "version", "validity_days", "expiry_rounding", "restore", "grace_days", "clawback"
        )
        return {**super().state_of(row), "policies": list(policies)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(MANAGE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(MANAGE)


def register() -> None:
    admin.site.unregister(Reason)
    admin.site.register(Reason, AuditedReasonAdmin)
