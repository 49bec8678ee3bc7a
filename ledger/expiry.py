"""Expiry: what has lapsed is posted, set-based and in batches, one entry per account and run.

It changes nothing that could be spent: the instant decides that, not this job. Rerunning changes
nothing, a killed run goes on where it stopped, and accounts that are busy are left to the next
batch (docs/adr/0009-expiry-is-bookkeeping.md).
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from ledger import clock
from ledger.balances import BalanceChange, announce
from ledger.clients import system_client_id
from ledger.database import fetch_all
from ledger.errors import ValidationRefused

# Accounts are locked in id order; what another operation holds is skipped, not waited for.
_LOCK_BATCH = """
SELECT account.id FROM ledger_account AS account
WHERE account.id = ANY (%s::bigint[])
ORDER BY account.id
FOR NO KEY UPDATE SKIP LOCKED
"""

_CANDIDATES = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM ledger_open_lot
    WHERE expires_at <= %s AND account_id <> ALL (%s::bigint[])
    ORDER BY expires_at LIMIT %s
) AS lapsed
"""

_EXPIRE_BATCH = """
WITH lapsed AS (
    DELETE FROM ledger_open_lot
    WHERE account_id = ANY (%(accounts)s::bigint[]) AND expires_at <= %(as_of)s
    RETURNING account_id, lot_id, remaining, expires_at, earned_at
), per_account AS (
    SELECT account_id, sum(remaining)::bigint AS points, count(*) AS lots,
        ledger_uuid7(%(now)s) AS operation_id, ledger_uuid7(%(now)s) AS entry_id
    FROM lapsed GROUP BY account_id
), account AS (
    UPDATE ledger_account AS account
    SET sequence = account.sequence + 1,
        balance = account.balance - per_account.points,
        last_recorded_at = greatest(account.last_recorded_at, %(now)s),
        next_expiry_at = (
            SELECT min(open.expires_at) FROM ledger_open_lot AS open
            WHERE open.account_id = account.id AND open.expires_at > %(as_of)s
        )
    FROM per_account
    WHERE account.id = per_account.account_id
    RETURNING account.id, account.account_number, account.sequence, account.balance, per_account.points,
        per_account.lots, per_account.operation_id, per_account.entry_id,
        account.last_recorded_at AS recorded_at
), operation AS (
    INSERT INTO ledger_operation (
        id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, recorded_at,
        balance_after
    )
    SELECT operation_id, %(client_id)s, 'expire:' || operation_id, ''::bytea, 'expire', 'completed',
        account_number, points, recorded_at, balance
    FROM account
), entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT entry_id, id, sequence, operation_id, 'expire', -points, balance, recorded_at, clock_timestamp()
    FROM account
), allocation AS (
    INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
    SELECT per_account.entry_id,
        row_number() OVER (
            PARTITION BY lapsed.account_id ORDER BY lapsed.expires_at, lapsed.earned_at, lapsed.lot_id
        ) - 1,
        lapsed.lot_id, -lapsed.remaining
    FROM lapsed JOIN per_account ON per_account.account_id = lapsed.account_id
), stale_balance AS (
    INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
    SELECT id, sequence, clock_timestamp() FROM account
    ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, marked_at = EXCLUDED.marked_at
)
SELECT id, account_number, sequence, points, lots FROM account
"""


@dataclass(slots=True, kw_only=True)
class ExpiryRun:
    """What one run did. `skipped_accounts` were locked by others and come with the next run."""

    accounts: int = 0
    lots: int = 0
    points: int = 0
    batches: int = 0
    skipped_accounts: int = 0


def expire_points(
    *,
    as_of: datetime | None = None,
    batch_lots: int = 5000,
    on_batch: Callable[[ExpiryRun], None] | None = None,
    only: Callable[[Collection[int]], Collection[int]] | None = None,
) -> ExpiryRun:
    """Post all lots that lapsed at or before `as_of` (default: now), of the accounts (ids) that `only` lets.

    Raises ValidationRefused for an `as_of` later than now.
    """
    now = clock.now()
    if as_of is None:
        as_of = now
    if as_of > now:
        raise ValidationRefused(field="as_of", field_code="in_the_future", detail="as_of is later than now.")
    run = ExpiryRun()
    skipped: set[int] = set()
    while True:
        candidates = [row[0] for row in fetch_all(_CANDIDATES, [as_of, list(skipped), batch_lots])]
        if not candidates:
            break
        with transaction.atomic():
            locked = [row[0] for row in fetch_all(_LOCK_BATCH, [candidates])]
            if only is not None:
                allowed = set(only(locked))
                locked = [account_id for account_id in locked if account_id in allowed]
            _expire_batch(locked, as_of=as_of, now=now, run=run)
        skipped.update(set(candidates) - set(locked))
        run.batches += 1
        if on_batch:
            on_batch(run)
    run.skipped_accounts = len(skipped)
    return run


def _expire_batch(account_ids: list[int], *, as_of: datetime, now: datetime, run: ExpiryRun) -> None:
    rows = fetch_all(
        _EXPIRE_BATCH, {"accounts": account_ids, "as_of": as_of, "now": now, "client_id": system_client_id()}
    )
    changes = [
        BalanceChange(account_id=account_id, account_number=account_number, sequence=sequence)
        for account_id, account_number, sequence, _, _ in rows
    ]
    if changes:
        transaction.on_commit(lambda: announce(changes), robust=True)
    run.accounts += len(rows)
    run.points += sum(row[3] for row in rows)
    run.lots += sum(row[4] for row in rows)


def count_lapsed(*, as_of: datetime) -> int:
    """How many lots wait to be posted as expired, for the progress of a run."""
    row = fetch_all("SELECT count(*) FROM ledger_open_lot WHERE expires_at <= %s", [as_of])
    return int(row[0][0])
