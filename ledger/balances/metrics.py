"""What can be seen of the cached balances. The labels are bound once: these lines are on hot paths."""

from prometheus_client import Counter, Gauge, Histogram

_reads = Counter(
    "points_balance_reads",
    "Reads of a balance, by what Redis had: a value (hit), nothing (miss), the note that it changed"
    " (tombstone), a value past its instant (lapsed), something that is no balance (corrupt), or no answer"
    " (unavailable)",
    ["found"],
)
HITS = _reads.labels(found="hit")
MISSES = _reads.labels(found="miss")
TOMBSTONES = _reads.labels(found="tombstone")
LAPSED = _reads.labels(found="lapsed")
CORRUPT = _reads.labels(found="corrupt")
UNAVAILABLE = _reads.labels(found="unavailable")

_announced = Counter(
    "points_balance_announced",
    "Changed balances, by what became of the note in Redis: written before the answer went out, written late"
    " (Redis did not answer; until then the account may have read stale), or lost",
    ["note"],
)
ANNOUNCED = _announced.labels(note="written")
ANNOUNCED_LATE = _announced.labels(note="late")
ANNOUNCED_NEVER = _announced.labels(note="lost")

BREAKER_OPEN = Gauge(
    "points_balance_redis_breaker_open",
    "1 in a process that does without Redis because it did not answer",
    multiprocess_mode="livemax",
)
REDIS_FAILURES = Counter("points_balance_redis_failures", "Exchanges with Redis that failed or took too long")

REFRESHED = Counter("points_balance_refreshed", "Balances that a refresh read and gave to Redis")
REFRESH_LAG = Histogram(
    "points_balance_refresh_lag_seconds",
    "From the change of a balance to its refresh",
    buckets=(0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
SWEPT = Counter("points_balance_swept", "Balances that no worker had refreshed in time, found by the sweeper")

_dropped = Counter(
    "points_doorbell_dropped", "Ids that no message was sent for, left to the sweepers", ["task"]
)
_messages = Counter("points_doorbell_messages", "Messages sent, each for many ids", ["task"])


def doorbell_dropped(*, task: str) -> Counter:
    counter: Counter = _dropped.labels(task=task)
    return counter


def doorbell_messages(*, task: str) -> Counter:
    counter: Counter = _messages.labels(task=task)
    return counter
