"""What Celery does for finance."""

from typing import Any

from celery import shared_task

from ledger.tasks import LedgerTask
from pointsystem.backoffice.finance import months


@shared_task(base=LedgerTask, name="backoffice.tasks.sum_months")
def sum_months(**_: Any) -> bool:
    """Keep the sums by month an hour behind, so that no page has much to read."""
    return months.bring_forward()
