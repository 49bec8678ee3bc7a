from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class ExpiryRounding(models.TextChoices):
    NONE = "none", _("the instant itself")
    END_OF_DAY = "end_of_day", _("the end of that day in the programme's time zone")


class Restore(models.TextChoices):
    ORIGINAL = "original", _("with the old expiry: restored and expired at once")
    GRACE = "grace", _("as a new lot with a few days of grace")


class Clawback(models.TextChoices):
    REJECT = "reject", _("refuse the cancel")
    WITHIN_BALANCE = "within_balance", _("take other points of the account, report the rest")
    DEBT = "debt", _("take other points of the account, the rest becomes a debt")


class Reason(models.Model):
    """Why points move, from a list that the operator keeps."""

    id = models.SmallAutoField(primary_key=True)
    code = models.CharField(_("code"), max_length=32, unique=True)
    label = models.CharField(_("label"), max_length=100)
    # The kinds of operation it may be given for.
    kinds = ArrayField(models.CharField(max_length=16), verbose_name=_("kinds"))
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        db_table = "ledger_reason"
        verbose_name = _("reason")
        verbose_name_plural = _("reasons")
        constraints = [
            models.CheckConstraint(
                condition=Q(code__regex=r"^[A-Z][A-Z0-9_]*$"), name="reason_code_is_upper_case"
            ),
        ]

    def __str__(self) -> str:
        return self.code


class ReasonPolicy(models.Model):
    """What a reason meant from a moment on: the next version is inserted, the old one stays.

    Lots name the version in force when they were earned; restore and clawback follow that one.
    """

    id = models.AutoField(primary_key=True)
    reason = models.ForeignKey(
        Reason, on_delete=models.PROTECT, related_name="policies", verbose_name=_("reason")
    )
    version = models.PositiveIntegerField(_("version"))
    # Null: points of this reason never expire.
    validity_days = models.PositiveIntegerField(_("validity in days"), null=True, blank=True)
    expiry_rounding = models.CharField(
        _("expiry rounding"), max_length=16, choices=ExpiryRounding.choices, default=ExpiryRounding.END_OF_DAY
    )
    restore = models.CharField(_("restore"), max_length=16, choices=Restore.choices, default=Restore.ORIGINAL)
    grace_days = models.PositiveIntegerField(_("grace in days"), default=7)
    clawback = models.CharField(
        _("clawback"), max_length=16, choices=Clawback.choices, default=Clawback.WITHIN_BALANCE
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        db_table = "ledger_reason_policy"
        verbose_name = _("reason policy")
        verbose_name_plural = _("reason policies")
        constraints = [
            models.UniqueConstraint(fields=["reason", "version"], name="reason_policy_version_is_unique"),
            models.CheckConstraint(
                condition=Q(validity_days__isnull=True) | Q(validity_days__range=(1, 3650)),
                name="reason_policy_validity_within_ten_years",
            ),
            models.CheckConstraint(
                condition=Q(grace_days__range=(1, 3650)), name="reason_policy_grace_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(restore__in=Restore.values), name="reason_policy_restore_is_known"
            ),
            models.CheckConstraint(
                condition=Q(clawback__in=Clawback.values), name="reason_policy_clawback_is_known"
            ),
            models.CheckConstraint(
                condition=Q(expiry_rounding__in=ExpiryRounding.values), name="reason_policy_rounding_is_known"
            ),
        ]

    def __str__(self) -> str:
        return gettext("version %d") % self.version
