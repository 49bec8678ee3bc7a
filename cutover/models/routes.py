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
    """Who decides for a cohort of accounts. `epoch` grows with every change of it."""

    cohort = models.CharField(_("cohort"), max_length=64, primary_key=True)
    stage = models.CharField(_("stage"), max_length=16, choices=Stage.choices)
    epoch = models.BigIntegerField(_("epoch"), default=1)
    changed_at = models.DateTimeField(_("changed at"))

    class Meta:
        db_table = "cutover_route"
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        constraints = [
            models.CheckConstraint(condition=Q(stage__in=Stage.values), name="route_stage_is_known"),
            models.CheckConstraint(condition=Q(epoch__gte=1), name="route_epoch_is_positive"),
        ]

    def __str__(self) -> str:
        return self.cohort
