"""What Celery does for the support desk: each task one call.

Messages carry ids; rows say what is to be done.
"""

from typing import Any

from celery import shared_task

from ledger.tasks import LedgerTask
from pointsystem.backoffice.support import granting, requests


@shared_task(base=LedgerTask, name="backoffice.tasks.run_mass_grant")
def run_mass_grant(*, mass_grant_id: int, **_: Any) -> None:
    if granting.run(mass_grant_id=mass_grant_id):
        granting.ask_worker(mass_grant_id=mass_grant_id)


@shared_task(base=LedgerTask, name="backoffice.tasks.sweep")
def sweep(**_: Any) -> int:
    """Mass grants and approved requests that nobody works on: their worker or their message was lost."""
    return requests.sweep() + granting.sweep()
