"""Sums of the ledger by month: a projection, so that a page need not read all that was ever posted."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.models import EntryKind


class MonthSum(models.Model):
    """Points that entries of one kind moved in one month, in lots that were earned for one reason."""

    id = models.BigAutoField(primary_key=True)
    #: The first day of the month, in the programme's time zone.
    month = models.DateField(_("month"))
    # No foreign key: a projection refers to what is never deleted.
    reason_id = models.SmallIntegerField()
    kind = models.CharField(_("kind"), max_length=16, choices=EntryKind.choices)
    points = models.BigIntegerField(_("points"))

    class Meta:
        db_table = "backoffice_month_sum"
        default_permissions = ()
        verbose_name = _("sum of a month")
        verbose_name_plural = _("sums of months")
        constraints = [
            models.UniqueConstraint(fields=["month", "reason_id", "kind"], name="month_sum_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} {self.kind}"


class MonthsSummed(models.Model):
    """The one row that says what `MonthSum` holds: every entry that was posted before an instant."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    #: The time zone whose months they are.
    zone = models.CharField(_("time zone"), max_length=64)
    posted_before = models.DateTimeField(_("posted before"))

    class Meta:
        db_table = "backoffice_months_summed"
        default_permissions = ()
        verbose_name = _("how far months are summed")
        verbose_name_plural = _("how far months are summed")
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="months_summed_is_one_row"),
        ]

    def __str__(self) -> str:
        return self.posted_before.isoformat()
