from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class AccountStatus(models.TextChoices):
    OPEN = "open", _("open")
    BLOCKED = "blocked", _("blocked")
    CLOSED = "closed", _("closed")


class Account(models.Model):
    """Whose points. Opened by its first earn; locked, by this row, by everything that writes.

    All columns but the number and `opened_at` are projections, kept by the posting statement in
    the transaction of each entry.
    """

    id = models.BigAutoField(primary_key=True)
    # Unique by a constraint: `unique=True` would bring a second index for LIKE, which "C" needs none for.
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    opened_at = models.DateTimeField(_("opened at"))
    status = models.CharField(
        _("status"), max_length=8, choices=AccountStatus.choices, default=AccountStatus.OPEN
    )
    sequence = models.BigIntegerField(_("sequence"), default=0)
    balance = models.BigIntegerField(_("balance"), default=0)
    outstanding_debt = models.BigIntegerField(_("outstanding debt"), default=0)
    # A lower bound of the soonest expires_at among the open lots; null when none of them expires.
    next_expiry_at = models.DateTimeField(_("next expiry at"), null=True)
    last_recorded_at = models.DateTimeField(_("last recorded at"))

    class Meta:
        db_table = "ledger_account"
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        constraints = [
            models.UniqueConstraint(fields=["account_number"], name="account_number_is_unique"),
            models.CheckConstraint(condition=Q(balance__gte=0), name="account_balance_not_negative"),
            models.CheckConstraint(condition=Q(sequence__gte=0), name="account_sequence_not_negative"),
            models.CheckConstraint(condition=Q(outstanding_debt__gte=0), name="account_debt_not_negative"),
            models.CheckConstraint(
                condition=Q(status__in=AccountStatus.values), name="account_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(last_recorded_at__gte=F("opened_at")), name="account_recorded_after_opening"
            ),
        ]

    def __str__(self) -> str:
        return self.account_number


class AccountStatusChange(models.Model):
    """One block, unblock or close, inserted and never changed."""

    id = models.BigAutoField(primary_key=True)
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="status_changes", verbose_name=_("account")
    )
    status = models.CharField(_("status"), max_length=8, choices=AccountStatus.choices)
    note = models.CharField(_("note"), max_length=500)
    actor = models.CharField(_("actor"), max_length=150)
    recorded_at = models.DateTimeField(_("recorded at"))

    class Meta:
        db_table = "ledger_account_status"
        verbose_name = _("account status change")
        verbose_name_plural = _("account status changes")
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=AccountStatus.values), name="account_status_change_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} at {self.recorded_at:%Y-%m-%d %H:%M}"
