from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class SimulatedClock(models.Model):
    """The one row that holds the business time when `POINTS_CLOCK=simulated` (demo and tests)."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    instant = models.DateTimeField()

    class Meta:
        db_table = "ledger_simulated_clock"
        verbose_name = _("simulated clock")
        verbose_name_plural = _("simulated clocks")
        constraints = [models.CheckConstraint(condition=Q(id=1), name="simulated_clock_is_one_row")]

    def __str__(self) -> str:
        return self.instant.isoformat()
