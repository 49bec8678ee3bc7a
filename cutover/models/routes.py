from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

#: Every account belongs to it that was not assigned to another.
DEFAULT_COHORT = "default"


class Stage(models.TextChoices):
    LEGACY_ONLY = "LEGACY_ONLY", _("legacy only")
    LEGACY_FIRST = "LEGACY_FIRST", _("legacy first")
    NEW_FIRST = "NEW_FIRST", _("new first")
    NEW_ONLY = "NEW_ONLY", _("new only")


class Route(models.Model):
    """Who decides for a cohort of accounts. `epoch` grows by one with every change of it.

    Which changes are legal the database itself says (`route_move_is_legal`).
    """

    cohort = models.CharField(_("cohort"), max_length=64, primary_key=True)
    stage = models.CharField(_("stage"), max_length=16, choices=Stage.choices)
    epoch = models.BigIntegerField(_("epoch"), default=1)
    #: In LEGACY_ONLY: messages are recorded, and none is applied. In every other stage they always are.
    capture = models.BooleanField(_("capture"), default=False, db_default=False)
    #: Until then nothing is decided but what was accepted before; it ends by itself.
    freeze_until = models.DateTimeField(_("frozen until"), null=True)
    #: Until then a switch is near, and nobody reads by a route that was read before.
    notice_until = models.DateTimeField(_("switch is near until"), null=True)
    #: After that the ledger stands alone, and there is no way back.
    finished_at = models.DateTimeField(_("finished at"), null=True)
    changed_at = models.DateTimeField(_("changed at"))

    class Meta:
        db_table = "cutover_route"
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        constraints = [
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="route_stage_is_known"),
            models.CheckConstraint(condition=Q(epoch__gte=1), name="route_epoch_is_positive"),
            models.CheckConstraint(
                condition=Q(finished_at__isnull=True) | Q(stage=Stage.NEW_ONLY),
                name="route_finished_in_new_only",
            ),
        ]

    def __str__(self) -> str:
        return self.cohort


class Member(models.Model):
    """The cohort of an account that was assigned to another than the default one."""

    account_number = models.CharField(_("account number"), max_length=64, primary_key=True, db_collation="C")
    cohort = models.CharField(_("cohort"), max_length=64)
    assigned_at = models.DateTimeField(_("assigned at"))

    class Meta:
        db_table = "cutover_member"
        verbose_name = _("member of a cohort")
        verbose_name_plural = _("members of cohorts")
        indexes = [models.Index(fields=["cohort"], name="member_by_cohort")]

    def __str__(self) -> str:
        return f"{self.account_number} in {self.cohort}"


class JournalEntry(models.Model):
    """One act of an operator on a route: inserted, never changed."""

    id = models.BigAutoField(primary_key=True)
    cohort = models.CharField(_("cohort"), max_length=64)
    action = models.CharField(_("action"), max_length=32)
    from_stage = models.CharField(_("from stage"), max_length=16)
    to_stage = models.CharField(_("to stage"), max_length=16)
    epoch = models.BigIntegerField(_("epoch"))
    actor = models.CharField(_("who"), max_length=150)
    approver = models.CharField(_("approved by"), max_length=150, blank=True)
    reason = models.CharField(_("why"), max_length=500)
    #: The checks at that moment: [{name, is_green, number, sentence}, ...].
    checks = models.JSONField(_("checks"), default=list)
    #: `done`, or `refused` with the reason among the details.
    result = models.CharField(_("result"), max_length=16)
    details = models.JSONField(_("details"), default=dict)
    duration_ms = models.IntegerField(_("duration (ms)"))
    at = models.DateTimeField(_("at"))

    class Meta:
        db_table = "cutover_journal"
        verbose_name = _("journal entry")
        verbose_name_plural = _("journal")

    def __str__(self) -> str:
        return f"{self.action} of {self.cohort} by {self.actor}"


class Approval(models.Model):
    """A second person's yes to one plan, and to no other: `digest` is the plan's."""

    id = models.BigAutoField(primary_key=True)
    cohort = models.CharField(_("cohort"), max_length=64)
    action = models.CharField(_("action"), max_length=32)
    digest = models.CharField(_("digest of the plan"), max_length=64)
    plan = models.JSONField(_("plan"))
    approved_by = models.CharField(_("approved by"), max_length=150)
    approved_at = models.DateTimeField(_("approved at"))
    used_at = models.DateTimeField(_("used at"), null=True)

    class Meta:
        db_table = "cutover_approval"
        verbose_name = _("approval")
        verbose_name_plural = _("approvals")
        constraints = [
            models.UniqueConstraint(
                fields=["digest", "approved_by"],
                condition=Q(used_at__isnull=True),
                name="approval_once_per_plan_and_person",
            )
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.cohort} by {self.approved_by}"
