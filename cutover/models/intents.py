from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class IntentState(models.TextChoices):
    OPEN = "open", _("open")
    IN_DOUBT = "in_doubt", _("in doubt")
    DONE = "done", _("done")
    REFUSED = "refused", _("refused")


class Intent(models.Model):
    """The note, committed before the call, that an operation is about to be given to the legacy.

    Whatever happens after it, it says what was asked, of which account, by which session of the legacy, and
    what the account's last row there was. An intent that never reached the legacy for certain goes again,
    with its operation.
    """

    id = models.BigAutoField(primary_key=True)
    # The operation is the ledger's; the two rows come and go together, in one transaction.
    operation_id = models.UUIDField(_("operation"), unique=True)
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    #: The place of the operation among those of its account: the order of mirroring.
    sequence = models.BigIntegerField(_("sequence"))
    stage = models.CharField(_("stage"), max_length=16)
    epoch = models.BigIntegerField(_("epoch"))
    state = models.CharField(_("state"), max_length=16, choices=IntentState.choices)
    request = models.JSONField(_("request"))
    bookmark = models.CharField(_("last row before the call"), max_length=64, null=True)
    session = models.CharField(_("session of the legacy"), max_length=128)
    attempts = models.PositiveIntegerField(_("attempts"), default=1)
    opened_at = models.DateTimeField(_("opened at"))
    #: Until then whoever opened or recovers it is at work; a recoverer takes it up after.
    leased_until = models.DateTimeField(_("leased until"))
    settled_at = models.DateTimeField(_("settled at"), null=True)
    #: `call`, `recoverer`, or the person who decided.
    settled_by = models.CharField(_("settled by"), max_length=150, null=True)
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")
    evidence = models.JSONField(_("evidence"), null=True)

    class Meta:
        db_table = "cutover_intent"
        verbose_name = _("intent")
        verbose_name_plural = _("intents")
        constraints = [
            models.UniqueConstraint(
                fields=["account_number"],
                condition=Q(state=IntentState.OPEN),
                name="intent_one_open_per_account",
            ),
            models.UniqueConstraint(
                fields=["account_number", "sequence"], name="intent_sequence_is_unique_per_account"
            ),
            models.CheckConstraint(condition=Q(state__in=IntentState.values), name="intent_state_is_known"),
            models.CheckConstraint(
                condition=Q(state__in=[IntentState.OPEN, IntentState.IN_DOUBT], settled_at__isnull=True)
                | Q(state__in=[IntentState.DONE, IntentState.REFUSED], settled_at__gte=F("opened_at")),
                name="intent_settled_has_instant",
            ),
        ]
        indexes = [
            # What the recoverer looks for, and what the operator is shown.
            models.Index(
                fields=["leased_until"],
                name="intent_not_settled",
                condition=Q(state__in=[IntentState.OPEN, IntentState.IN_DOUBT]),
            ),
            # Whether an account is held.
            models.Index(
                fields=["account_number"],
                name="intent_in_doubt_by_account",
                condition=Q(state=IntentState.IN_DOUBT),
            ),
        ]

    def __str__(self) -> str:
        return str(self.operation_id)
