"""What both sides did in the last minutes, read from what they wrote; None for what is not known."""

from dataclasses import dataclass
from typing import Any, Final

from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from cutover.models import Direction
from ledger.database import fetch_all
from pointsystem.backoffice.charts import sparkline

WINDOW_SECONDS: Final = 300
#: A point of a line stands for so long.
PIECE_SECONDS: Final = 15

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


# The same range, in pieces of a line: how many were asked for in each.
_DECIDED_IN_PIECES: Final = """
WITH bounds AS (
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now
), asked AS (
    SELECT operation.decided_elsewhere, (bounds.now
        - ('x' || substr(replace(operation.id::text, '-', ''), 1, 12))::bit(48)::bigint) / %(piece)s AS back
    FROM ledger_operation AS operation, bounds
    WHERE operation.id >= (lpad(to_hex(bounds.now - %(whole)s), 12, '0') || repeat('0', 20))::uuid
        AND operation.id < (lpad(to_hex(bounds.now), 12, '0') || repeat('f', 20))::uuid
        AND operation.state IN ('completed', 'failed')
)
SELECT decided_elsewhere, back, count(*) FROM asked GROUP BY decided_elsewhere, back
"""
_APPLIED_IN_PIECES: Final = """
SELECT message.direction,
    floor(extract(epoch FROM clock_timestamp() - message.settled_at) * 1000)::bigint / %(piece)s AS back,
    count(*)
FROM cutover_message AS message
LEFT JOIN cutover_member AS member ON member.account_number = message.account_number
WHERE message.settled_at > clock_timestamp() - %(whole)s * interval '1 millisecond'
    AND message.state = 'applied' AND coalesce(member.cohort, 'default') = %(cohort)s
GROUP BY message.direction, back
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What one side decided. The milliseconds are those of calls of the legacy, from note to outcome."""

    completed: int = 0
    refused: int = 0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    #: Operations a second in each piece of the window, oldest first.
    course: tuple[float, ...] = ()

    @property
    def chart(self) -> SafeString:
        return _chart(self.course)

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
    pieces = _pieces(_DECIDED_IN_PIECES)
    found = {is_elsewhere: Decided(course=_course(pieces, is_elsewhere)) for is_elsewhere in (True, False)}
    for is_elsewhere, completed, refused, lags in fetch_all(_DECIDED, {"seconds": WINDOW_SECONDS}):
        p50, p95, p99 = (round(lag * 1000, 1) for lag in lags) if lags else (None, None, None)
        found[is_elsewhere] = Decided(
            completed=completed,
            refused=refused,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            course=_course(pieces, is_elsewhere),
        )
    return Sides(legacy=found[True], ledger=found[False])


def applied_charts(*, cohort: str) -> dict[Direction, SafeString]:
    """The course of what was applied of each way of messages."""
    pieces = _pieces(_APPLIED_IN_PIECES, cohort=cohort)
    return {direction: _chart(_course(pieces, direction.value)) for direction in Direction}


def _pieces(statement: str, **more: str) -> dict[tuple[Any, int], int]:
    whole, piece = WINDOW_SECONDS * 1000, PIECE_SECONDS * 1000
    rows = fetch_all(statement, {"whole": whole, "piece": piece, **more})
    return {(of, back): count for of, back, count in rows}


def _course(pieces: dict[tuple[Any, int], int], of: Any) -> tuple[float, ...]:
    """What is not there was counted too, and is 0."""
    backs = range(WINDOW_SECONDS // PIECE_SECONDS - 1, -1, -1)
    return tuple(pieces.get((of, back), 0) / PIECE_SECONDS for back in backs)


def _chart(course: tuple[float, ...]) -> SafeString:
    title = _("Operations a second in the last %(minutes)d minutes, at most %(most)s") % {
        "minutes": WINDOW_SECONDS // 60,
        "most": f"{max(course, default=0):,.1f}",
    }
    return sparkline(title=title, values=course)
