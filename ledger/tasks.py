"""What Celery does for the ledger: each task one call, with ids for arguments and no ledger fact in it.

A message is only a doorbell. It may come twice, late or never: rows in PostgreSQL say what is to be
done, and the periodic tasks find them. So a message whose worker was killed is not delivered again,
or one that kills its worker would do so for ever.
"""

from collections.abc import Sequence
from typing import Any

from celery import Task, shared_task

from ledger import balances
from ledger.balances.guard import refuse_inside_transaction
from ledger.door import face


class LedgerTask(Task):
    """A task that cannot be asked for inside a transaction, where a worker would be too early."""

    abstract = True
    reject_on_worker_lost = False
    ignore_result = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        """Raises InsideTransaction."""
        refuse_inside_transaction(f"{self.name} asked for")
        return super().apply_async(*args, **kwargs)


@shared_task(base=LedgerTask, name="ledger.tasks.refresh_balances")
def refresh_balances(*, account_ids: Sequence[int], **_: Any) -> int:
    try:
        return balances.refresh(account_ids=account_ids)
    except balances.RedisUnavailable:
        # The accounts stay marked, and the sweeper comes by when Redis is back.
        return 0


@shared_task(base=LedgerTask, name="ledger.tasks.sweep_stale_balances")
def sweep_stale_balances(**_: Any) -> int:
    return balances.sweep_stale_balances()


@shared_task(base=LedgerTask, name="ledger.tasks.drain_inbox")
def drain_inbox(*, account_numbers: Sequence[str] | None = None, **_: Any) -> int:
    return face().drain_inbox(account_numbers=account_numbers)


@shared_task(base=LedgerTask, name="ledger.tasks.expire_points")
def expire_points(**_: Any) -> int:
    return face().expire_points().points
