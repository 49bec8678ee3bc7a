"""How mirroring stands: what is to be delivered, what waits for a person, how fast and how late it goes."""

from dataclasses import dataclass
from typing import Final

from cutover.models import Direction
from ledger.database import fetch_all

#: Rate and lag are those of so long a time.
WINDOW_SECONDS: Final = 60

# What is only recorded is no backlog: in LEGACY_ONLY nobody follows, nor in NEW_ONLY, but for the last of an
# old direction.
_IS_DELIVERED: Final = """
route.finished_at IS NULL AND CASE message.direction
    WHEN 'to_ledger' THEN route.stage <> 'LEGACY_ONLY' ELSE route.stage <> 'NEW_ONLY'
END
"""
_BACKLOGS: Final = f"""
SELECT message.direction,
    count(*) FILTER (WHERE {_IS_DELIVERED}),
    extract(epoch FROM clock_timestamp() - min(message.created_at) FILTER (WHERE {_IS_DELIVERED}))::float8,
    count(*) FILTER (WHERE message.state = 'parked'),
    count(*) FILTER (WHERE message.state = 'waiting' AND NOT ({_IS_DELIVERED}))
FROM cutover_message AS message
LEFT JOIN cutover_member AS member ON member.account_number = message.account_number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE message.state IN ('waiting', 'parked') AND coalesce(route.cohort = %(cohort)s, true)
GROUP BY message.direction
"""  # noqa: S608  (only the constant above is put into the text)
_HELD: Final = """
SELECT count(DISTINCT owing.account_number)
FROM (
    SELECT account_number, direction FROM cutover_message WHERE state IN ('waiting', 'parked')
    UNION ALL
    SELECT account_number, 'to_ledger' FROM cutover_intent WHERE state IN ('open', 'in_doubt')
) AS owing
LEFT JOIN cutover_member AS member ON member.account_number = owing.account_number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE route.finished_at IS NULL AND coalesce(route.cohort = %(cohort)s, true)
    AND owing.direction = CASE
        WHEN route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST') THEN 'to_legacy' ELSE 'to_ledger'
    END
"""
_FLOW: Final = """
SELECT message.direction, count(*),
    percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
        ORDER BY extract(epoch FROM message.settled_at - message.created_at)::float8
    )
FROM cutover_message AS message
LEFT JOIN cutover_member AS member ON member.account_number = message.account_number
WHERE message.settled_at > clock_timestamp() - %(window)s * interval '1 second'
    AND message.state = 'applied'
    AND coalesce(coalesce(member.cohort, 'default') = %(cohort)s, true)
GROUP BY message.direction
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Messages of one direction that are not settled."""

    #: To be delivered, parked ones among them.
    count: int = 0
    #: Age of the oldest of these; None when there is none.
    oldest_seconds: float | None = None
    parked: int = 0
    #: Recorded, and delivered only should the stage change.
    only_recorded: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What was applied in one direction in the last minute; the lags are None when nothing was."""

    applied: int = 0
    applied_per_second: float = 0.0
    lag_p50_seconds: float | None = None
    lag_p95_seconds: float | None = None
    lag_p99_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How mirroring stands, of one cohort or of all."""

    backlogs: dict[Direction, Backlog]
    flows: dict[Direction, Flow]
    held_accounts: int


def read(*, cohort: str | None = None) -> Status:
    """How mirroring stands, of all accounts or of a cohort's."""
    return Status(
        backlogs=backlogs(cohort=cohort),
        flows=flows(cohort=cohort),
        held_accounts=held_accounts(cohort=cohort),
    )


def backlogs(*, cohort: str | None = None) -> dict[Direction, Backlog]:
    """By direction: what is to be delivered, and what waits for a person."""
    found = {direction: Backlog() for direction in Direction}
    for direction, count, oldest, parked, recorded in fetch_all(_BACKLOGS, {"cohort": cohort}):
        found[Direction(direction)] = Backlog(
            count=count,
            oldest_seconds=None if oldest is None else max(0.0, oldest),
            parked=parked,
            only_recorded=recorded,
        )
    return found


def flows(*, cohort: str | None = None) -> dict[Direction, Flow]:
    """By direction: how much was applied in the last minute, and how late."""
    found = {direction: Flow() for direction in Direction}
    for direction, count, lags in fetch_all(_FLOW, {"cohort": cohort, "window": WINDOW_SECONDS}):
        p50, p95, p99 = (max(0.0, lag) for lag in lags)
        found[Direction(direction)] = Flow(
            applied=count,
            applied_per_second=count / WINDOW_SECONDS,
            lag_p50_seconds=p50,
            lag_p95_seconds=p95,
            lag_p99_seconds=p99,
        )
    return found


def held_accounts(*, cohort: str | None = None) -> int:
    """Accounts on which nobody decides until what the earlier decider still owes is settled."""
    return int(fetch_all(_HELD, {"cohort": cohort})[0][0])
