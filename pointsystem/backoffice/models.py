"""What the back office keeps: the audit trail, what the support desk asked for, and sums by month for
finance. Everything else belongs to the apps below."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice.finance.models import MonthsSummed, MonthSum
from pointsystem.backoffice.support.models import (
    ApprovalRequest,
    Confirmation,
    MassGrant,
    MassGrantRow,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

#: Tables on which the database itself refuses UPDATE, DELETE and TRUNCATE, by trigger and by privilege.
INSERT_ONLY_TABLES = ("backoffice_audit_entry", "backoffice_confirmation")

__all__ = [
    "ApprovalRequest",
    "AuditEntry",
    "Capability",
    "Confirmation",
    "MassGrant",
    "MassGrantRow",
    "MonthSum",
    "MonthsSummed",
]


class Capability(models.Model):
    """No table: it carries the permissions that the back office asks for, beside Django's for each model."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = [
            ("view_accounts", _("See accounts, their lots, history and balances")),
            ("move_points", _("Grant, deduct, cancel and transfer points, with a reason")),
            ("block_account", _("Block, unblock and close accounts")),
            ("approve_request", _("Approve or refuse what another person asked for")),
            ("mass_grant", _("Grant points to many accounts from a file")),
            ("view_control_room", _("See the state of the cutover")),
            ("operate_cutover", _("Switch stages, freeze, resend, skip, decide and resolve")),
            ("approve_cutover", _("Approve a plan of the cutover that another person made")),
            ("view_finance", _("See the monthly roll-forward and the liability")),
            ("view_audit", _("See the audit trail")),
            ("manage_clients", _("Make clients of the API, rotate and revoke their keys")),
            ("manage_reasons", _("Keep the reasons and their policies")),
        ]


class AuditEntry(models.Model):
    """Who did what, to whom, when and why. Inserted in the transaction of the change, and never changed."""

    id = models.BigAutoField(primary_key=True)
    # Real time, whatever POINTS_CLOCK says: the trail is about persons and not about points.
    at = models.DateTimeField(_("at"))
    # Null: nobody who is known (a wrong password), or a job.
    person: "models.ForeignKey[User | None, User | None]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        verbose_name=_("person"),
    )
    # As it was then: a name may be changed later.
    username = models.CharField(_("username"), max_length=150, blank=True)
    action = models.CharField(_("action"), max_length=64)
    subject_kind = models.CharField(_("subject"), max_length=32)
    subject_id = models.CharField(_("subject id"), max_length=150)
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    before = models.JSONField(_("before"), null=True)
    after = models.JSONField(_("after"), null=True)
    request_id = models.CharField(_("request id"), max_length=64, blank=True)
    ip = models.GenericIPAddressField(_("address"), null=True)

    class Meta:
        db_table = "backoffice_audit_entry"
        default_permissions = ()
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit trail")
        constraints = [
            models.CheckConstraint(
                condition=Q(action__regex=r"^[a-z_]+\.[a-z_]+$"), name="audit_action_is_subject_and_verb"
            ),
            models.CheckConstraint(
                condition=Q(subject_kind__regex=r"^[a-z_]+$"), name="audit_subject_kind_is_a_word"
            ),
        ]
        indexes = [
            models.Index(fields=["person", "id"], name="audit_by_person"),
            models.Index(fields=["action", "id"], name="audit_by_action"),
            models.Index(fields=["subject_kind", "subject_id", "id"], name="audit_by_subject"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject_id}"
