"""What Celery does for the cutover; each task one call. A lost message costs time only: beat asks again."""

from collections.abc import Sequence
from typing import Any, Final

import structlog
from celery import shared_task

from cutover import callers, migrating, settling, shadowing
from cutover.mirroring import worker
from cutover.switching import ordering
from ledger import clock
from ledger.tasks import LedgerTask
from legacy_bridge.errors import LegacyError

log = structlog.get_logger(__name__)

#: Beat asks again every few minutes.
_COUNTING_SECONDS: Final = 120.0


@shared_task(base=LedgerTask, name="cutover.tasks.settle_intents")
def settle_intents(**_: Any) -> int:
    return settling.settle_due()


@shared_task(base=LedgerTask, name="cutover.tasks.mirror")
def mirror(*, account_numbers: Sequence[str] = (), **_: Any) -> int:
    """Messages applied. Which accounts rang does not matter: whatever is due is done."""
    return worker.run()


@shared_task(base=LedgerTask, name="cutover.tasks.look_for_strangers")
def look_for_strangers(*, again: bool = False, **_: Any) -> int:
    """Rows that came past the API. A legacy that is away is asked again by the next."""
    try:
        return worker.look_for_strangers(again=again)
    except LegacyError as error:
        log.info("tail_not_followed", error=str(error)[:500])
        return 0


@shared_task(base=LedgerTask, name="cutover.tasks.count_callers")
def count_callers(**_: Any) -> int:
    """Rows read. What is not read in time is read by the next."""
    try:
        return callers.scan(now=clock.now(), budget_seconds=_COUNTING_SECONDS).rows_read
    except (callers.NoHistory, LegacyError) as error:
        # An operator is told by the page; there is nothing that a worker could do.
        log.info("callers_not_counted", error=str(error)[:500])
        return 0


@shared_task(base=LedgerTask, name="cutover.tasks.migrate")
def migrate(**_: Any) -> int:
    """Rows that were brought. What fails now is gone on with by the next; the run says what it was."""
    try:
        return migrating.carry_on()
    except (migrating.NoHistory, migrating.Overtaken, LegacyError) as error:
        log.warning("migration_stopped", error=str(error)[:500])
        return 0


@shared_task(base=LedgerTask, name="cutover.tasks.assign")
def assign(**_: Any) -> int:
    """Orders that were carried out or stopped. Whichever rang: all that are due are done."""
    return sum(ordering.run(order_id=order_id) is not None for order_id in ordering.due())


@shared_task(base=LedgerTask, name="cutover.tasks.compare_shadows")
def compare_shadows(*, account_numbers: Sequence[str], **_: Any) -> int:
    """Accounts that were compared. A sample that the legacy has no time for is not taken."""
    try:
        return shadowing.compare(account_numbers)
    except LegacyError as error:
        log.info("shadows_not_compared", error=str(error)[:500])
        return 0
