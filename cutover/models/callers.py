"""Who calls the procedures of the legacy: what was counted of its history, and how far it was read."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _


class CallerOrigin(models.TextChoices):
    DIRECT = "direct", _("a procedure called directly")
    API = "api", _("through the API")


class CallerScan(models.Model):
    """How far the legacy's history was read. One row, or none where it never was."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    #: Rows recorded before were not counted; null: the whole history is.
    counted_since = models.DateTimeField(_("counted since"), null=True)
    #: The last row that is counted for good; null: none yet.
    watermark = models.CharField(_("last row"), max_length=64, null=True)
    watermark_at = models.DateTimeField(_("last row recorded at"), null=True)
    rows_read = models.BigIntegerField(_("rows read"), default=0)
    #: Grows with every change, so that of two scans at once one starts anew from what the other wrote.
    revision = models.BigIntegerField(_("revision"), default=1)
    #: When a scan last came to the newest row; null: none has yet.
    reached_end_at = models.DateTimeField(_("came to the newest row at"), null=True)
    #: Rows are known to be there that are not counted.
    is_behind = models.BooleanField(_("behind"), default=True)
    changed_at = models.DateTimeField(_("changed at"))
    last_error = models.TextField(_("last error"), blank=True, default="")

    class Meta:
        db_table = "cutover_caller_scan"
        verbose_name = _("who calls procedures directly")
        verbose_name_plural = _("who calls procedures directly")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="caller_scan_is_one_row")]

    def __str__(self) -> str:
        return "1"


class CallerDay(models.Model):
    """Rows of the legacy's history of one day (of the programme's zone), procedure and caller."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField(_("day"))
    origin = models.CharField(_("origin"), max_length=8, choices=CallerOrigin.choices)
    procedure = models.CharField(_("procedure"), max_length=128, blank=True)
    caller = models.CharField(_("caller"), max_length=128, blank=True)
    #: False for the youngest rows: they are counted anew by the next scan.
    is_final = models.BooleanField(_("final"))
    rows = models.BigIntegerField(_("rows"))
    points = models.BigIntegerField(_("points"))
    first_at = models.DateTimeField(_("first at"))
    last_at = models.DateTimeField(_("last at"))

    class Meta:
        db_table = "cutover_caller_day"
        verbose_name = _("rows of a caller by day")
        verbose_name_plural = _("rows of callers by day")
        constraints = [
            models.UniqueConstraint(
                fields=["day", "origin", "procedure", "caller", "is_final"], name="caller_day_is_unique"
            ),
            models.CheckConstraint(condition=Q(origin__in=CallerOrigin.values), name="caller_day_has_origin"),
            models.CheckConstraint(
                condition=Q(rows__gt=0, last_at__gte=F("first_at")), name="caller_day_has_rows"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.procedure} {self.caller}"


class UndecidedRow(models.Model):
    """A row of an account with an intent that is not settled: whose it is, is not known yet."""

    row_id = models.CharField(_("row"), max_length=64, primary_key=True)
    account_number = models.CharField(_("account number"), max_length=64, db_collation="C")
    operation_id = models.UUIDField(_("operation"), null=True)
    recorded_at = models.DateTimeField(_("recorded at"))
    procedure = models.CharField(_("procedure"), max_length=128, blank=True)
    caller = models.CharField(_("caller"), max_length=128, blank=True)
    points = models.BigIntegerField(_("points"))
    is_final = models.BooleanField(_("final"))

    class Meta:
        db_table = "cutover_undecided_row"
        verbose_name = _("undecided row")
        verbose_name_plural = _("undecided rows")

    def __str__(self) -> str:
        return self.row_id
