"""Putting balances into Redis before anybody asks: many at once, from what is committed.

The row in `ledger_stale_balance` is written with every change and deleted here, after Redis has the
balance. A lost message, a dead worker or an empty Redis therefore costs seconds and nothing else:
the sweeper finds the row.
"""

import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ledger import clock, crash_points
from ledger.balances import _store, metrics
from ledger.balances._redis import RedisUnavailable
from ledger.balances._store import VersionedBalance
from ledger.balances.guard import refuse_inside_transaction
from ledger.balances.window import expiring_before
from ledger.database import fetch_all
from ledger.records import BalanceRecord, PointsAt, PointsBefore

CHUNK_ACCOUNTS = 500
STALE_AFTER_SECONDS = 3.0
SWEEP_SECONDS = 4.0

# No client waits for a refresh, so a busy machine may take its time.
_REDIS_TIMEOUT_SECONDS = 2.0

# Of many accounts what ledger.queries reads of one; tests hold the two equal.
_BALANCES = """
SELECT account.id, account.account_number, account.sequence, account.balance - soon.lapsed, soon.points,
    first.expires_at, first.points
FROM ledger_account AS account
CROSS JOIN LATERAL (
    SELECT coalesce(sum(remaining) FILTER (WHERE expires_at > %(now)s), 0)::bigint AS points,
        coalesce(sum(remaining) FILTER (WHERE expires_at <= %(now)s), 0)::bigint AS lapsed
    FROM ledger_open_lot WHERE account_id = account.id AND expires_at < %(before)s
) AS soon
LEFT JOIN LATERAL (
    SELECT lot.expires_at, sum(lot.remaining)::bigint AS points
    FROM ledger_open_lot AS lot
    WHERE lot.account_id = account.id AND lot.expires_at = (
        SELECT min(expires_at) FROM ledger_open_lot
        WHERE account_id = account.id AND expires_at > %(now)s
    )
    GROUP BY lot.expires_at
) AS first ON true
WHERE account.id = ANY (%(account_ids)s::bigint[])
"""

# A row that a posting holds right now will say something newer in a moment: it is left, and no earn
# ever waits for this. What a crash undoes of it is only done again, so it need not wait for the disk.
# Row by row by its key: after an outage there may be a million rows besides these.
_CLEAR = """
WITH setting AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', true)
), cleared AS (
    SELECT stale.account_id
    FROM unnest(%(account_ids)s::bigint[], %(sequences)s::bigint[]) AS refreshed(account_id, sequence)
    CROSS JOIN LATERAL (
        SELECT marked.account_id FROM ledger_stale_balance AS marked
        WHERE marked.account_id = refreshed.account_id AND marked.sequence <= refreshed.sequence
        FOR UPDATE SKIP LOCKED
    ) AS stale
    WHERE EXISTS (SELECT FROM setting)
)
DELETE FROM ledger_stale_balance AS stale
WHERE stale.account_id = ANY (ARRAY(SELECT account_id FROM cleared))
RETURNING extract(epoch FROM clock_timestamp() - stale.marked_at)::float8
"""

_STALE = """
SELECT account_id FROM ledger_stale_balance
WHERE account_id > %s AND marked_at < clock_timestamp() - make_interval(secs => %s)
ORDER BY account_id LIMIT %s
"""

_SOME_ACCOUNTS = "SELECT id FROM ledger_account WHERE id > %s ORDER BY id LIMIT %s"


def refresh(*, account_ids: Sequence[int]) -> int:
    """Give Redis these accounts' balances as PostgreSQL has them. Returns how many there were.

    Running it twice, late or in another order does no harm: an older version never replaces a newer
    one. Raises RedisUnavailable (the accounts stay marked as stale) and InsideTransaction.
    """
    refuse_inside_transaction("balances refreshed")
    refreshed = 0
    for start in range(0, len(account_ids), CHUNK_ACCOUNTS):
        refreshed += _refresh_chunk(list(account_ids[start : start + CHUNK_ACCOUNTS]))
    return refreshed


def _refresh_chunk(account_ids: list[int]) -> int:
    now = clock.now()
    before = expiring_before(now=now)
    rows = fetch_all(_BALANCES, {"account_ids": account_ids, "now": now, "before": before})
    crash_points.reach("refresh.before_set")
    balances = [_balance(row, now=now, before=before) for row in rows]
    _store.put(balances, timeout_seconds=_REDIS_TIMEOUT_SECONDS)
    crash_points.reach("refresh.before_clear")
    versions = {"account_ids": [row[0] for row in rows], "sequences": [row[2] for row in rows]}
    cleared = fetch_all(_CLEAR, versions)
    crash_points.reach("refresh.after_clear")
    metrics.REFRESHED.inc(len(rows))
    for (lag_seconds,) in cleared:
        metrics.REFRESH_LAG.observe(max(0.0, lag_seconds))
    return len(rows)


def _balance(row: tuple[Any, ...], *, now: datetime, before: datetime) -> VersionedBalance:
    _, account_number, sequence, available, soon, next_expiry_at, next_points = row
    next_expiry = None
    if next_expiry_at is not None:
        next_expiry = PointsAt(points=next_points, at=next_expiry_at.astimezone(UTC))
    record = BalanceRecord(
        account_number=account_number,
        available=available,
        expiring_soon=PointsBefore(points=soon, before=before),
        next_expiry=next_expiry,
        as_of=now,
    )
    return VersionedBalance(record=record, sequence=sequence)


def sweep_stale_balances(
    *, stale_after_seconds: float = STALE_AFTER_SECONDS, deadline_seconds: float = SWEEP_SECONDS
) -> int:
    """Refresh what has been stale for longer than a refresh takes. Returns how many were.

    The next sweep goes on where the deadline ended this one. When Redis does not answer, all that is
    left stays marked.
    """
    try:
        return refresh_stale(stale_after_seconds=stale_after_seconds, deadline_seconds=deadline_seconds)
    except RedisUnavailable:
        return 0


def refresh_stale(*, stale_after_seconds: float = 0.0, deadline_seconds: float = math.inf) -> int:
    """Go once through what is marked as stale, in chunks, until the deadline; returns how many.

    Raises RedisUnavailable.
    """
    deadline = time.monotonic() + deadline_seconds
    last_id = swept = 0
    while time.monotonic() < deadline:
        account_ids = [row[0] for row in fetch_all(_STALE, [last_id, stale_after_seconds, CHUNK_ACCOUNTS])]
        if not account_ids:
            break
        refresh(account_ids=account_ids)
        metrics.SWEPT.inc(len(account_ids))
        swept += len(account_ids)
        last_id = account_ids[-1]
    return swept


def refresh_all(*, on_chunk: Callable[[int], None] | None = None) -> int:
    """Refresh every account there is, in chunks; `on_chunk` hears how many are done.

    Raises RedisUnavailable.
    """
    last_id = done = 0
    while account_ids := [row[0] for row in fetch_all(_SOME_ACCOUNTS, [last_id, CHUNK_ACCOUNTS])]:
        done += refresh(account_ids=account_ids)
        last_id = account_ids[-1]
        if on_chunk:
            on_chunk(done)
    return done
