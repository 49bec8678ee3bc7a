from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class OrderState(models.TextChoices):
    WAITING = "waiting", _("waits for a worker")
    RUNNING = "running", _("under way")
    DONE = "done", _("done")
    REFUSED = "refused", _("stopped")
    WITHDRAWN = "withdrawn", _("withdrawn")


#: An order in one of these is still to be carried out.
OPEN_ORDERS = (OrderState.WAITING, OrderState.RUNNING)


class AssignmentOrder(models.Model):
    """An assignment that somebody confirmed, for a worker to carry out: what was asked for, as it was shown.

    What was moved is in the journal, batch by batch; here it is only counted.
    """

    id = models.BigAutoField(primary_key=True)
    #: Made when the form is shown: the same form twice is one order.
    key = models.UUIDField(_("key"), unique=True)
    cohort = models.CharField(_("cohort"), max_length=64)
    to = models.CharField(_("to cohort"), max_length=64)
    #: Either the account numbers, or a percentage.
    accounts = models.JSONField(_("accounts"), null=True)
    percent = models.FloatField(_("percent"), null=True)
    #: Of the plan that was confirmed.
    digest = models.CharField(_("digest of the plan"), max_length=64)
    epoch = models.BigIntegerField(_("epoch"))
    from_stage = models.CharField(_("from stage"), max_length=16)
    to_stage = models.CharField(_("to stage"), max_length=16)
    overridden = models.JSONField(_("overridden checks"), default=list)
    actor = models.CharField(_("who"), max_length=150)
    reason = models.CharField(_("why"), max_length=500)
    state = models.CharField(
        _("state"), max_length=16, choices=OrderState.choices, default=OrderState.WAITING
    )
    #: As counted when it was confirmed: some may have come or gone since.
    accounts_total = models.BigIntegerField(_("accounts in all"))
    moved = models.BigIntegerField(_("accounts moved"), default=0)
    not_of_source = models.BigIntegerField(_("accounts of another cohort"), default=0)
    #: Why it stopped, in words; empty when all is well.
    outcome = models.TextField(_("outcome"), blank=True, default="")
    ordered_at = models.DateTimeField(_("ordered at"))
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    #: Whoever works on it holds it until then; another may go on after.
    leased_until = models.DateTimeField(_("leased until"), null=True)

    class Meta:
        db_table = "cutover_assignment_order"
        verbose_name = _("order to assign accounts")
        verbose_name_plural = _("orders to assign accounts")
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=OrderState.values), name="assignment_order_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(accounts__isnull=True, percent__isnull=False)
                | Q(accounts__isnull=False, percent__isnull=True),
                name="assignment_order_has_one_choice",
            ),
            models.UniqueConstraint(
                fields=["cohort"],
                condition=Q(state__in=OPEN_ORDERS),
                name="assignment_order_one_open_per_cohort",
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.id}"
