"""Operations on their way to the side that follows."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Direction(models.TextChoices):
    TO_LEDGER = "to_ledger", _("to the ledger")
    TO_LEGACY = "to_legacy", _("to the legacy")


class MessageState(models.TextChoices):
    WAITING = "waiting", _("waiting")
    PARKED = "parked", _("parked")
    APPLIED = "applied", _("applied")
    SKIPPED = "skipped", _("skipped")


class Failure(models.TextChoices):
    #: Tried again with back-off; it may succeed by itself.
    TRANSIENT = "transient", _("transient")
    #: It can never be applied as it is.
    POISON = "poison", _("poison")
    #: The side that follows stands differently from the one that decided.
    DIVERGENCE = "divergence", _("divergence")


class MirrorMessage(models.Model):
    """A decided operation that the other side is still to be told of.

    The database writes it in the transaction that keeps the outcome, in both directions
    (docs/adr/0023-the-database-fences-and-records.md). Within an account `id` is the order in which the
    operations were decided.
    """

    id = models.BigAutoField(primary_key=True)
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    direction = models.CharField(_("direction"), max_length=16, choices=Direction.choices)
    operation_id = models.UUIDField(_("operation"))
    stage = models.CharField(_("stage"), max_length=16)
    epoch = models.BigIntegerField(_("epoch"))
    state = models.CharField(_("state"), max_length=16, choices=MessageState.choices)
    created_at = models.DateTimeField(_("created at"))
    #: Not before then; while it is being worked on, the end of that lease.
    due_at = models.DateTimeField(_("due at"))
    attempts = models.PositiveIntegerField(_("attempts"), default=0, db_default=0)
    #: What was told or was to be told: kept from the first attempt that failed on.
    payload = models.JSONField(_("payload"), null=True)
    failure = models.CharField(
        _("failure"), max_length=16, choices=Failure.choices, blank=True, default="", db_default=""
    )
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")
    #: Of a call into the legacy: the session that makes it, and the account's last row before it.
    session = models.CharField(
        _("session of the legacy"), max_length=128, blank=True, default="", db_default=""
    )
    bookmark = models.CharField(_("last row before the call"), max_length=64, null=True)
    settled_at = models.DateTimeField(_("settled at"), null=True)
    settled_by = models.CharField(_("settled by"), max_length=150, blank=True, default="", db_default="")
    #: Why it was skipped, or what else there is to say of it.
    note = models.CharField(_("note"), max_length=500, blank=True, default="", db_default="")

    class Meta:
        db_table = "cutover_message"
        verbose_name = _("mirror message")
        verbose_name_plural = _("mirror messages")
        constraints = [
            # An operation is decided by one side, and told to the other once.
            models.UniqueConstraint(fields=["operation_id"], name="message_one_per_operation"),
            models.CheckConstraint(condition=Q(state__in=MessageState.values), name="message_state_is_known"),
            models.CheckConstraint(
                condition=Q(direction__in=Direction.values), name="message_direction_is_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[MessageState.WAITING, MessageState.PARKED], settled_at__isnull=True)
                | Q(state__in=[MessageState.APPLIED, MessageState.SKIPPED], settled_at__isnull=False),
                name="message_settled_has_instant",
            ),
        ]
        indexes = [
            # What is to be done next.
            models.Index(
                fields=["direction", "due_at"], name="message_due", condition=Q(state=MessageState.WAITING)
            ),
            # The first of an account, and whether an account is held.
            models.Index(
                fields=["account_number", "id"],
                name="message_not_settled",
                condition=Q(state__in=[MessageState.WAITING, MessageState.PARKED]),
            ),
            models.Index(fields=["id"], name="message_parked", condition=Q(state=MessageState.PARKED)),
            # Rate and lag of the last minutes, and what may be cleared away.
            models.Index(
                fields=["settled_at"], name="message_settled", condition=Q(settled_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.operation_id} {self.direction}"


class FollowedAccount(models.Model):
    """How far the legacy's history of an account stands in the ledger."""

    account_number = models.CharField(_("account number"), max_length=64, primary_key=True, db_collation="C")
    #: The last row of the legacy's history that is in the ledger, or was made by it; null: none.
    position = models.CharField(_("last row"), max_length=64, null=True)
    imported_at = models.DateTimeField(_("imported at"), null=True)

    class Meta:
        db_table = "cutover_followed_account"
        verbose_name = _("followed account")
        verbose_name_plural = _("followed accounts")

    def __str__(self) -> str:
        return self.account_number


class Tail(models.Model):
    """How far the legacy's whole history was read for rows that no call of the API made. One row, or none."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    #: All rows up to it were read for good: none can be committed among them any more.
    watermark = models.CharField(_("last row read for good"), max_length=64, null=True)
    #: The newest row that was read.
    newest = models.CharField(_("newest row read"), max_length=64, null=True)
    newest_at = models.DateTimeField(_("newest row recorded at"), null=True)
    #: When the newest row of the legacy was last reached.
    reached_end_at = models.DateTimeField(_("came to the newest row at"), null=True)
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")

    class Meta:
        db_table = "cutover_tail"
        verbose_name = _("tail of the legacy")
        verbose_name_plural = _("tail of the legacy")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="tail_is_one_row")]

    def __str__(self) -> str:
        return "1"


class LotAlias(models.Model):
    """A lot that the ledger granted and the legacy was told of: under the id that is derived from the
    legacy's own, the one that clients know."""

    derived_id = models.UUIDField(_("derived id"), primary_key=True)
    lot_id = models.UUIDField(_("lot"), unique=True)

    class Meta:
        db_table = "cutover_lot_alias"
        verbose_name = _("alias of a lot")
        verbose_name_plural = _("aliases of lots")

    def __str__(self) -> str:
        return f"{self.derived_id} is {self.lot_id}"
