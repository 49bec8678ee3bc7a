"""What Prometheus is told. All web processes write into PROMETHEUS_MULTIPROC_DIR, any of them answers."""

import os
from typing import Final

from django.conf import settings
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

REQUEST_SECONDS: Final = Histogram(
    "points_api_request_seconds",
    "Time from the first byte of a request of the API to its answer, by endpoint and HTTP status.",
    ["endpoint", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
PROBLEMS: Final = Counter("points_api_problems_total", "Problems answered by the API, by code.", ["code"])
REPLAYS: Final = Counter("points_api_replays_total", "Requests answered with the outcome of an earlier one.")
RATE_LIMIT_UNCOUNTED: Final = Counter(
    "points_api_rate_limit_uncounted_total", "Requests let through because Redis could not count them."
)
SLOW_BODIES: Final = Counter(
    "points_api_slow_bodies_total", "Connections that were shut because their body did not come."
)
RETRIED: Final = Counter(
    "points_api_retried_on_new_connection_total",
    "Requests run again because the database connection was lost.",
)

_children: dict[tuple[str, int], Histogram] = {}


def observe_request(*, endpoint: str, status: int, seconds: float) -> None:
    """Count one answer. The children are kept: finding them by label costs more than counting."""
    child = _children.get((endpoint, status))
    if child is None:
        child = _children[(endpoint, status)] = REQUEST_SECONDS.labels(endpoint, str(status))
    child.observe(seconds)


def exposition() -> bytes:
    """All metrics of all processes, as text."""
    # Imported late: the counters of this module are also imported before there is a database.
    from pointsystem.observability.backlog import BacklogCollector

    waiting = CollectorRegistry()
    waiting.register(BacklogCollector())
    if settings.HAS_LEGACY:
        from cutover.mirroring.metrics import MirrorCollector

        waiting.register(MirrorCollector())
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return generate_latest(REGISTRY) + generate_latest(waiting)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(waiting)
