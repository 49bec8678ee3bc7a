"""Whether the machines that a switch counts on are there: workers, and Redis."""

import time
from typing import Final

from celery import current_app
from django_redis import get_redis_connection
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

QUEUE: Final = "mirror"
_ASK_WORKERS_SECONDS: Final = 1.0
_WORKERS_KEPT_SECONDS: Final = 5.0

_workers: tuple[float, int | None] = (-_WORKERS_KEPT_SECONDS, None)


def workers_of_mirror() -> int | None:
    """How many workers take from the queue, as of a moment ago; None when the broker does not answer."""
    global _workers
    asked_at, count = _workers
    if time.monotonic() - asked_at > _WORKERS_KEPT_SECONDS:
        count = _count_workers()
        _workers = (time.monotonic(), count)
    return count


def _count_workers() -> int | None:
    try:
        queues = current_app.control.inspect(timeout=_ASK_WORKERS_SECONDS).active_queues() or {}
    except (OSError, KombuError, RedisError):
        return None
    return sum(any(queue["name"] == QUEUE for queue in of_worker) for of_worker in queues.values())


def redis_milliseconds() -> float | None:
    """How long Redis takes to answer; None when it does not."""
    began_at = time.monotonic()
    try:
        get_redis_connection("default").ping()
    except (OSError, RedisError):
        return None
    return round((time.monotonic() - began_at) * 1000, 1)


def forget_workers() -> None:
    """Ask anew at the next check (tests)."""
    global _workers
    _workers = (-_WORKERS_KEPT_SECONDS, None)
