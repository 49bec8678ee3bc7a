from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.models.clients import Client
from ledger.models.reasons import Reason


class OperationKind(models.TextChoices):
    EARN = "earn", _("earn")
    SPEND = "spend", _("spend")
    EARN_CANCEL = "earn_cancel", _("earn cancel")
    SPEND_CANCEL = "spend_cancel", _("spend cancel")
    TRANSFER = "transfer", _("transfer")
    ADJUST = "adjust", _("adjust")
    EXPIRE = "expire", _("expire")


class OperationState(models.TextChoices):
    PENDING = "pending", _("pending")
    ACCEPTED = "accepted", _("accepted")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    IN_DOUBT = "in_doubt", _("in doubt")


class Operation(models.Model):
    """One request of a client, or one run of a job, and its outcome. Keys never expire.

    The outcome of a completed operation is its entries; of a refused one, `refusal`. Both are
    given again, unchanged, whenever the same key comes back.
    """

    id = models.UUIDField(_("id"), primary_key=True)
    # Client and reason are not foreign keys of the database: every operation would lock the same few
    # rows, which are never deleted (docs/adr/0013-no-locks-on-shared-rows.md).
    client = models.ForeignKey(
        Client,
        on_delete=models.PROTECT,
        related_name="operations",
        db_index=False,
        db_constraint=False,
        verbose_name=_("client"),
    )
    idempotency_key = models.CharField(_("idempotency key"), max_length=255, db_collation="C")
    fingerprint = models.BinaryField(_("fingerprint"), max_length=32)
    kind = models.CharField(_("kind"), max_length=16, choices=OperationKind.choices)
    state = models.CharField(_("state"), max_length=16, choices=OperationState.choices)
    # Text and not a key: a refused spend may name an account that was never opened.
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    to_account_number = models.CharField(_("to account number"), max_length=64, null=True, db_collation="C")
    points = models.BigIntegerField(_("points"))
    reason = models.ForeignKey(
        Reason,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        db_index=False,
        db_constraint=False,
        verbose_name=_("reason"),
    )
    reference = models.CharField(_("reference"), max_length=64, null=True, db_collation="C")
    occurred_at = models.DateTimeField(_("occurred at"), null=True)
    recorded_at = models.DateTimeField(_("recorded at"))
    cancels = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        related_name="cancelled_by",
        db_index=False,
        verbose_name=_("cancels"),
    )
    balance_after = models.BigIntegerField(_("balance after"), null=True)
    uncollected_points = models.BigIntegerField(_("uncollected points"), null=True)
    metadata = models.JSONField(_("metadata"), null=True)
    refusal = models.JSONField(_("refusal"), null=True)
    actor = models.CharField(_("actor"), max_length=150, null=True)
    # The next five are for operations under a cutover, and opaque here: the ledger keeps them so that what
    # was decided elsewhere still answers, replays and is cancelled when that side is long gone.
    decided_elsewhere = models.BooleanField(_("decided elsewhere"), default=False, db_default=False)
    counterpart_id = models.CharField(_("counterpart id"), max_length=64, null=True, db_collation="C")
    stage = models.CharField(_("stage"), max_length=16, null=True)
    epoch = models.BigIntegerField(_("epoch"), null=True)
    # What another side said of lots: [[lot, points, expires_at], ...]. Null where it could not tell.
    shares = models.JSONField(_("shares"), null=True)

    class Meta:
        db_table = "ledger_operation"
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        constraints = [
            models.UniqueConstraint(
                fields=["client", "idempotency_key"], name="operation_key_is_unique_per_client"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=OperationKind.values), name="operation_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=OperationState.values), name="operation_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(kind=OperationKind.ADJUST) | Q(points__gte=0),
                name="operation_points_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(state=OperationState.FAILED, refusal__isnull=False)
                | (~Q(state=OperationState.FAILED) & Q(refusal__isnull=True)),
                name="operation_failed_has_refusal",
            ),
            models.CheckConstraint(
                condition=Q(cancels__isnull=True)
                | Q(kind__in=[OperationKind.EARN_CANCEL, OperationKind.SPEND_CANCEL]),
                name="operation_only_cancels_cancel",
            ),
            # A row of the other side is one operation, however often it is found.
            models.UniqueConstraint(
                fields=["counterpart_id"],
                condition=Q(counterpart_id__isnull=False),
                name="operation_counterpart_is_unique",
            ),
        ]
        indexes = [
            # GET /operations?reference=
            models.Index(
                fields=["client", "reference", "id"],
                name="operation_by_reference",
                condition=Q(reference__isnull=False),
            ),
            # What was cancelled of an operation so far.
            models.Index(
                fields=["cancels"], name="operation_by_cancelled", condition=Q(cancels__isnull=False)
            ),
            # Refused and unfinished operations of an account: completed ones are found by entry.
            models.Index(
                fields=["account_number", "id"],
                name="operation_not_completed",
                condition=~Q(state=OperationState.COMPLETED),
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class InboxItem(models.Model):
    """An earn or cancel that was accepted (202) and is not done yet, in order per account."""

    id = models.BigAutoField(primary_key=True)
    operation = models.OneToOneField(
        Operation, on_delete=models.PROTECT, related_name="inbox_item", verbose_name=_("operation")
    )
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    command = models.JSONField(_("command"))
    accepted_at = models.DateTimeField(_("accepted at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    last_error = models.TextField(_("last error"), blank=True, default="")

    class Meta:
        db_table = "ledger_inbox"
        verbose_name = _("inbox item")
        verbose_name_plural = _("inbox items")
        indexes = [models.Index(fields=["account_number", "id"], name="inbox_by_account_in_order")]

    def __str__(self) -> str:
        return f"{self.account_number} #{self.id}"
