"""What the support desk keeps: forms that were confirmed, requests that wait for a second person, and mass
grants. What they did to points stands in the ledger alone.
"""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class MoveKind(models.TextChoices):
    """What a form of the desk can ask for."""

    GRANT = "grant", _("grant")
    DEDUCT = "deduct", _("deduct")
    CANCEL = "cancel", _("cancel")
    TRANSFER = "transfer", _("transfer")
    BLOCK = "block", _("block")
    UNBLOCK = "unblock", _("unblock")
    CLOSE = "close", _("close")
    MASS_GRANT = "mass_grant", _("mass grant")


class Confirmation(models.Model):
    """One form that a person confirmed, once: its key is made when the form is shown.

    Inserted in the transaction of its audit entry, and never changed.
    """

    key = models.UUIDField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=16, choices=MoveKind.choices)
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    # What was asked for, as `moves.Move` writes it: the same key with other values is refused.
    payload = models.JSONField(_("values"))
    note = models.CharField(_("note"), max_length=500, blank=True)
    person: "models.ForeignKey[User, User]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("person"),
    )
    confirmed_at = models.DateTimeField(_("confirmed at"))

    class Meta:
        db_table = "backoffice_confirmation"
        default_permissions = ()
        verbose_name = _("confirmation")
        verbose_name_plural = _("confirmations")
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=MoveKind.values), name="confirmation_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.account_number}"


class RequestState(models.TextChoices):
    WAITING = "waiting", _("waiting for a second person")
    APPROVED = "approved", _("approved, not done yet")
    DONE = "done", _("done")
    REFUSED = "refused", _("approved, but refused by the ledger")
    REJECTED = "rejected", _("rejected")
    EXPIRED = "expired", _("expired")
    WITHDRAWN = "withdrawn", _("withdrawn")


class ApprovalRequest(models.Model):
    """A confirmed form above the limit: it waits for somebody who is not its author."""

    id = models.BigAutoField(primary_key=True)
    confirmation = models.OneToOneField(Confirmation, on_delete=models.PROTECT, related_name="request")
    points = models.BigIntegerField(_("points"))
    state = models.CharField(
        _("state"), max_length=16, choices=RequestState.choices, default=RequestState.WAITING
    )
    author: "models.ForeignKey[User, User]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("author"),
    )
    asked_at = models.DateTimeField(_("asked at"))
    expires_at = models.DateTimeField(_("expires at"))
    decided_by: "models.ForeignKey[User | None, User | None]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        verbose_name=_("decided by"),
    )
    decided_at = models.DateTimeField(_("decided at"), null=True)
    decision_note = models.CharField(_("note of the decision"), max_length=500, blank=True)
    operation_id = models.UUIDField(_("operation"), null=True)
    # Why it is not done (yet), in words; empty when all is well.
    outcome = models.CharField(_("outcome"), max_length=500, blank=True)
    attempted_at = models.DateTimeField(_("attempted at"), null=True)

    class Meta:
        db_table = "backoffice_approval_request"
        default_permissions = ()
        verbose_name = _("request")
        verbose_name_plural = _("requests")
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=RequestState.values), name="approval_request_state_is_known"
            ),
            models.CheckConstraint(condition=Q(points__gt=0), name="approval_request_points_are_positive"),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True) | ~Q(decided_by=F("author")),
                name="approval_request_has_a_second_person",
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=[RequestState.WAITING, RequestState.EXPIRED, RequestState.WITHDRAWN],
                    decided_by__isnull=True,
                )
                | Q(
                    state__in=[
                        RequestState.APPROVED,
                        RequestState.DONE,
                        RequestState.REFUSED,
                        RequestState.REJECTED,
                    ],
                    decided_by__isnull=False,
                ),
                name="approval_request_decided_by_somebody",
            ),
        ]
        indexes = [
            # The list of what is to be done, and what the sweeper looks for.
            models.Index(
                fields=["id"],
                name="approval_request_open",
                condition=Q(state__in=[RequestState.WAITING, RequestState.APPROVED]),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.id}"


class MassGrantState(models.TextChoices):
    PREVIEWED = "previewed", _("not confirmed yet")
    WAITING = "waiting", _("waiting for a second person")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    DROPPED = "dropped", _("dropped")


class MassGrant(models.Model):
    """A file of grants: one row of it is one earn with a key of its own."""

    id = models.BigAutoField(primary_key=True)
    file_name = models.CharField(_("file name"), max_length=200)
    # SHA-256 over the values of the rows: the same rows in another spelling are the same file.
    digest = models.CharField(_("digest"), max_length=64)
    rows_total = models.PositiveIntegerField(_("rows"))
    points_total = models.BigIntegerField(_("points"))
    state = models.CharField(
        _("state"), max_length=16, choices=MassGrantState.choices, default=MassGrantState.PREVIEWED
    )
    # Of the form that confirms it.
    key = models.UUIDField(_("key"), unique=True)
    author: "models.ForeignKey[User, User]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        verbose_name=_("author"),
    )
    uploaded_at = models.DateTimeField(_("uploaded at"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    # The worker that has it now, and until when: a dead one loses it.
    worker = models.UUIDField(_("worker"), null=True)
    worked_until = models.DateTimeField(_("worked until"), null=True)

    class Meta:
        db_table = "backoffice_mass_grant"
        default_permissions = ()
        verbose_name = _("mass grant")
        verbose_name_plural = _("mass grants")
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=MassGrantState.values), name="mass_grant_state_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=["digest", "id"], name="mass_grant_by_digest"),
            models.Index(fields=["id"], name="mass_grant_running", condition=Q(state=MassGrantState.RUNNING)),
        ]

    def __str__(self) -> str:
        return self.file_name


class RowState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    GRANTED = "granted", _("granted")
    REPEATED = "repeated", _("granted before, by the same file")
    ACCEPTED = "accepted", _("accepted, follows soon")
    REFUSED = "refused", _("refused")


class MassGrantRow(models.Model):
    """One line of the file, and what became of it."""

    id = models.BigAutoField(primary_key=True)
    mass_grant = models.ForeignKey(
        MassGrant, on_delete=models.CASCADE, related_name="rows", db_index=False, verbose_name=_("mass grant")
    )
    line = models.PositiveIntegerField(_("line"))
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    points = models.BigIntegerField(_("points"))
    reason = models.CharField(_("reason"), max_length=32)
    reference = models.CharField(_("reference"), max_length=64, null=True)
    # Left out of the file, the reason's policy decides.
    has_expiry = models.BooleanField(_("has its own expiry"), default=False)
    expires_at = models.DateTimeField(_("expires at"), null=True)
    state = models.CharField(_("state"), max_length=16, choices=RowState.choices, default=RowState.WAITING)
    operation_id = models.UUIDField(_("operation"), null=True)
    code = models.CharField(_("code"), max_length=64, blank=True)
    detail = models.CharField(_("detail"), max_length=500, blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt at"), null=True)

    class Meta:
        db_table = "backoffice_mass_grant_row"
        default_permissions = ()
        verbose_name = _("row of a mass grant")
        verbose_name_plural = _("rows of mass grants")
        constraints = [
            models.UniqueConstraint(fields=["mass_grant", "line"], name="mass_grant_row_line_is_unique"),
            models.CheckConstraint(
                condition=Q(state__in=RowState.values), name="mass_grant_row_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(points__range=(1, 1_000_000_000)), name="mass_grant_row_points_in_bounds"
            ),
        ]
        indexes = [
            # What is left to be done, in order.
            models.Index(
                fields=["mass_grant", "line"],
                name="mass_grant_row_waiting",
                condition=Q(state=RowState.WAITING),
            ),
            models.Index(fields=["id"], name="mass_grant_row_accepted", condition=Q(state=RowState.ACCEPTED)),
        ]

    def __str__(self) -> str:
        return f"line {self.line}"
