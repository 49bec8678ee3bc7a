"""What both sides did in the last minutes, read from what they wrote; None for what is not known."""

from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from ledger.database import fetch_all

WINDOW_SECONDS: Final = 300

# Ids of operations begin with the millisecond in which they were asked for: so the last minutes are a range
# of the primary key. Rows that came past the API have other ids, and are not among these.
_DECIDED: Final = """
WITH bounds AS (
    SELECT (lpad(to_hex(floor(extract(epoch FROM clock_timestamp() - %(seconds)s * interval '1 second')
        * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid AS first,
        (lpad(to_hex(floor(extract(epoch FROM clock_timestamp() + interval '1 minute')
        * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid AS last
), asked AS (
    SELECT operation.state, operation.decided_elsewhere, operation.id
    FROM ledger_operation AS operation, bounds
    WHERE operation.id >= bounds.first AND operation.id < bounds.last
)
SELECT asked.decided_elsewhere, count(*) FILTER (WHERE asked.state = 'completed'),
    count(*) FILTER (WHERE asked.state = 'failed'),
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM intent.settled_at - intent.opened_at)::float8
    ) FILTER (WHERE intent.settled_at IS NOT NULL)
FROM asked LEFT JOIN cutover_intent AS intent ON intent.operation_id = asked.id
WHERE asked.state IN ('completed', 'failed')
GROUP BY asked.decided_elsewhere
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What one side decided. The milliseconds are those of calls of the legacy, from note to outcome."""

    completed: int = 0
    refused: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None

    @property
    def per_second(self) -> float:
        return (self.completed + self.refused) / WINDOW_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    title: Any
    decided: Decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    legacy: Decided
    ledger: Decided

    @property
    def both(self) -> list[Side]:
        return [
            Side(title=_("Legacy"), decided=self.legacy),
            Side(title=_("Ledger"), decided=self.ledger),
        ]


def decided() -> Sides:
    """What was asked through the API in the last minutes, by the side that decided it."""
    found = {True: Decided(), False: Decided()}
    for is_elsewhere, completed, refused, lags in fetch_all(_DECIDED, {"seconds": WINDOW_SECONDS}):
        p50, p95, p99 = (round(lag * 1000, 1) for lag in lags) if lags else (None, None, None)
        found[is_elsewhere] = Decided(
            completed=completed, refused=refused, p50_ms=p50, p95_ms=p95, p99_ms=p99
        )
    return Sides(legacy=found[True], ledger=found[False])
