"""What was found when both sides were compared, and the long runs that move and compare them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Difference(models.TextChoices):
    BEHIND = "behind", _("behind")
    ROUNDING = "rounding", _("rounding")
    ORDER = "order", _("order")
    ZONE = "zone", _("zone")
    REAL = "real", _("real")


class FoundBy(models.TextChoices):
    MIRROR = "mirror", _("mirroring")
    MIGRATION = "migration", _("migration")
    VERIFICATION = "verification", _("verification")
    SHADOW = "shadow", _("shadow compare")
    RECONCILE = "reconcile", _("monthly comparison")


class Mismatch(models.Model):
    """A recorded difference between both sides, with its class, its cause and its resolution."""

    id = models.BigAutoField(primary_key=True)
    account_number = models.CharField(_("account number"), max_length=64, blank=True, db_collation="C")
    #: What differs: `balance`, `lot:<id>`, `row:<id>`, `operation:<id>`, `month:<YYYY-MM>:<kind>:<reason>`.
    subject = models.CharField(_("subject"), max_length=128)
    difference = models.CharField(_("class"), max_length=16, choices=Difference.choices)
    found_by = models.CharField(_("found by"), max_length=16, choices=FoundBy.choices)
    #: What each side says: {"legacy": ..., "ledger": ...}; null for what a side has not at all.
    said = models.JSONField(_("what each side says"))
    why = models.TextField(_("cause"), blank=True)
    found_at = models.DateTimeField(_("found at"))
    seen_at = models.DateTimeField(_("last seen at"))
    resolved_at = models.DateTimeField(_("resolved at"), null=True)
    resolved_by = models.CharField(_("resolved by"), max_length=150, blank=True)
    resolution = models.CharField(_("resolution"), max_length=500, blank=True)

    class Meta:
        db_table = "cutover_mismatch"
        verbose_name = _("mismatch")
        verbose_name_plural = _("mismatches")
        constraints = [
            models.UniqueConstraint(
                fields=["account_number", "subject", "found_by"],
                condition=Q(resolved_at__isnull=True),
                name="mismatch_open_once_per_subject",
            ),
            models.CheckConstraint(
                condition=Q(difference__in=Difference.values), name="mismatch_class_is_known"
            ),
        ]
        indexes = [
            models.Index(
                fields=["difference", "id"], name="mismatch_open", condition=Q(resolved_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account_number} {self.subject}"


class Reconstruction(models.Model):
    """An operation whose allocations were inferred: the legacy does not say which lots it touched."""

    operation_id = models.UUIDField(_("operation"), primary_key=True)
    why = models.CharField(_("why"), max_length=200)

    class Meta:
        db_table = "cutover_reconstruction"
        verbose_name = _("reconstruction")
        verbose_name_plural = _("reconstructions")

    def __str__(self) -> str:
        return str(self.operation_id)


class RunKind(models.TextChoices):
    MIGRATION = "migration", _("migration")
    DELTA = "delta", _("delta")
    VERIFICATION = "verification", _("verification")
    ASSIGNMENT = "assignment", _("assignment")


class Run(models.Model):
    """A long piece of work that goes on where it was stopped: how far it came, and how fast."""

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(_("kind"), max_length=16, choices=RunKind.choices)
    #: What it was started with.
    parameters = models.JSONField(_("parameters"), default=dict)
    #: The last account that is done; null: none yet.
    cursor = models.CharField(_("last account"), max_length=64, null=True, db_collation="C")
    accounts_total = models.BigIntegerField(_("accounts in all"), null=True)
    accounts_done = models.BigIntegerField(_("accounts done"), default=0, db_default=0)
    rows_done = models.BigIntegerField(_("rows done"), default=0, db_default=0)
    #: Counts that the kind of work keeps (differences, mismatches, ...).
    counts = models.JSONField(_("counts"), default=dict)
    started_at = models.DateTimeField(_("started at"))
    changed_at = models.DateTimeField(_("changed at"))
    #: Whoever works on it holds it until then; another may go on after.
    leased_until = models.DateTimeField(_("leased until"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    last_error = models.TextField(_("last error"), blank=True, default="", db_default="")

    class Meta:
        db_table = "cutover_run"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        constraints = [
            models.UniqueConstraint(
                fields=["kind"], condition=Q(finished_at__isnull=True), name="run_one_at_a_time_of_a_kind"
            ),
            models.CheckConstraint(condition=Q(kind__in=RunKind.values), name="run_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class ShadowCount(models.Model):
    """How many accounts shadow compare looked up on both sides on a day, by what came of it."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField(_("day"))
    #: `equal`, or the class of the difference.
    outcome = models.CharField(_("outcome"), max_length=16)
    accounts = models.BigIntegerField(_("accounts"))

    class Meta:
        db_table = "cutover_shadow_count"
        verbose_name = _("count of shadow compare")
        verbose_name_plural = _("counts of shadow compare")
        constraints = [
            models.UniqueConstraint(fields=["day", "outcome"], name="shadow_count_is_unique"),
            models.CheckConstraint(condition=Q(accounts__gte=0), name="shadow_count_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} on {self.day}"
