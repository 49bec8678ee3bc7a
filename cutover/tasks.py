"""What Celery does for the cutover; each task one call. A lost message costs time only: beat asks again."""

from typing import Any

from celery import shared_task

from cutover import settling
from ledger.tasks import LedgerTask


@shared_task(base=LedgerTask, name="cutover.tasks.settle_intents")
def settle_intents(**_: Any) -> int:
    return settling.settle_due()
