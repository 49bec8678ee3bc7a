"""What can be seen of mirroring: what was done, counted here, and what waits, read when somebody asks."""

import logging
from collections.abc import Iterable
from typing import Final

from django.db import Error as DatabaseError
from prometheus_client import Counter, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cutover.mirroring import status
from cutover.models import Direction, Failure

logger = logging.getLogger(__name__)

_applied: Final = Counter(
    "points_mirror_applied", "Mirror messages that were applied, by direction", ["direction"]
)
_parked: Final = Counter(
    "points_mirror_parked",
    "Mirror messages that were left to a person, by direction and kind of failure",
    ["direction", "failure"],
)
_lag: Final = Histogram(
    "points_mirror_lag_seconds",
    "From the decision on one side to its being applied on the other, by direction",
    ["direction"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)


def applied(direction: Direction, *, lag_seconds: float) -> None:
    """Count a message that was applied so long after it was written."""
    _applied.labels(direction=direction.value).inc()
    _lag.labels(direction=direction.value).observe(max(0.0, lag_seconds))


def parked(direction: Direction, failure: Failure) -> None:
    """Count a message that was parked."""
    _parked.labels(direction=direction.value, failure=failure.value).inc()


class MirrorCollector(Collector):
    """What is still to be delivered, by direction, and what waits for a person. A number that cannot be read
    is left out: 0 would say that nothing waits."""

    def collect(self) -> Iterable[Metric]:
        try:
            backlogs = status.backlogs()
            held = status.held_accounts()
        except DatabaseError:
            logger.warning("the backlog of mirroring could not be read")
            return
        for name, what, values in (
            (
                "points_mirror_waiting",
                "Mirror messages that are to be delivered and are not",
                {direction: float(backlog.count) for direction, backlog in backlogs.items()},
            ),
            (
                "points_mirror_oldest_seconds",
                "Age of the oldest mirror message that is to be delivered",
                {direction: backlog.oldest_seconds or 0.0 for direction, backlog in backlogs.items()},
            ),
            (
                "points_mirror_parked_now",
                "Mirror messages that wait for a person",
                {direction: float(backlog.parked) for direction, backlog in backlogs.items()},
            ),
        ):
            family = GaugeMetricFamily(name, f"{what}, by direction.", labels=["direction"])
            for direction, value in values.items():
                family.add_metric([direction.value], value)
            yield family
        yield GaugeMetricFamily(
            "points_mirror_held_accounts",
            "Accounts on which nobody decides until what the earlier decider owes is applied.",
            value=float(held),
        )
