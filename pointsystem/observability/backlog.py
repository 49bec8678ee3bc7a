"""What waits, as Prometheus gauges: read from PostgreSQL when somebody asks for metrics.

A number that cannot be read is left out: 0 would say that nothing waits.
"""

import logging
from collections.abc import Iterable
from typing import Final

from django.db import Error as DatabaseError
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ledger.database import fetch_one

logger = logging.getLogger(__name__)

_WAITING: Final = """
SELECT
    (SELECT count(*) FROM ledger_inbox),
    (SELECT extract(epoch FROM clock_timestamp() - min(item.taken_at))
     FROM (SELECT accepted_at AS taken_at FROM ledger_inbox ORDER BY id LIMIT 1) AS item),
    (SELECT count(*) FROM ledger_stale_balance),
    (SELECT extract(epoch FROM clock_timestamp() - min(marked_at)) FROM ledger_stale_balance)
"""


class BacklogCollector(Collector):
    """How many operations wait in the inbox and how many balances for Redis, and the oldest of each."""

    def collect(self) -> Iterable[Metric]:
        try:
            row = fetch_one(_WAITING)
        except DatabaseError:
            logger.warning("the backlog could not be read")
            return
        if row is None:
            return
        for name, what, count, oldest in (
            ("points_inbox", "Accepted operations that are not done yet", row[0], row[1]),
            ("points_stale_balances", "Balances that Redis may hold an older version of", row[2], row[3]),
        ):
            yield GaugeMetricFamily(f"{name}_waiting", f"{what}.", value=count)
            yield GaugeMetricFamily(
                f"{name}_oldest_seconds", f"{what}: age of the oldest.", value=max(0.0, float(oldest or 0))
            )
