"""Where Celery looks for the tasks of the back office."""

from pointsystem.backoffice.finance.tasks import sum_months
from pointsystem.backoffice.support.tasks import run_mass_grant, sweep

__all__ = ["run_mass_grant", "sum_months", "sweep"]
