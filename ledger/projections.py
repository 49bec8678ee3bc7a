"""What is kept for speed, computed again from entries, lots, allocations, debts and status rows.

Open lots and the counters of accounts follow from the truth; here they are compared with it, and put
right where they differ. Safe under live traffic: differences are looked for without locks, each
statement on one snapshot, and only an account that shows one is locked, looked at again, and written.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction

from ledger import balances
from ledger.balances import BalanceChange, RedisUnavailable
from ledger.database import fetch_all
from ledger.errors import OperationNotFound

_BATCH_ACCOUNTS = 500

_NEXT_ACCOUNTS = "SELECT id FROM ledger_account WHERE id > %s ORDER BY id LIMIT %s"
_ONE_ACCOUNT = "SELECT id FROM ledger_account WHERE account_number = %s"
_LOCK_ACCOUNTS = """
SELECT id, account_number FROM ledger_account WHERE id = ANY (%s::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""

# By the account of the lot, and not by that of the open lot, which may be what is wrong.
_LOTS = """
SELECT account.id, account.account_number, lot.id, lot.points, coalesce(open.remaining, 0), moved.remaining
FROM ledger_lot AS lot
JOIN ledger_account AS account ON account.id = lot.account_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(points), 0)::bigint AS remaining FROM ledger_allocation WHERE lot_id = lot.id
) AS moved
LEFT JOIN ledger_open_lot AS open ON open.lot_id = lot.id
WHERE lot.account_id = ANY (%s::bigint[]) AND (
    coalesce(open.remaining, 0) <> moved.remaining
    OR (open.lot_id IS NOT NULL AND (
        open.account_id <> lot.account_id OR open.points <> lot.points OR open.earned_at <> lot.earned_at
        OR open.expires_at IS DISTINCT FROM lot.expires_at
    ))
)
ORDER BY account.id, lot.id
"""

# next_expiry_at may be a lower bound; last_recorded_at may be later than the last entry.
_COUNTERS = """
SELECT account.id, account.account_number, account.sequence, posted.sequence, account.balance, posted.balance,
    account.outstanding_debt, debt.points, account.status, coalesce(status.status, 'open'),
    account.next_expiry_at, open.soonest, account.last_recorded_at, posted.recorded_at
FROM ledger_account AS account
CROSS JOIN LATERAL (
    SELECT coalesce(max(sequence), 0) AS sequence, coalesce(sum(points), 0)::bigint AS balance,
        coalesce(max(recorded_at), account.opened_at) AS recorded_at
    FROM ledger_entry WHERE account_id = account.id
) AS posted
CROSS JOIN LATERAL (
    SELECT coalesce(sum(points), 0)::bigint AS points FROM ledger_debt WHERE account_id = account.id
) AS debt
LEFT JOIN LATERAL (
    SELECT status FROM ledger_account_status WHERE account_id = account.id ORDER BY id DESC LIMIT 1
) AS status ON true
CROSS JOIN LATERAL (
    SELECT min(expires_at) AS soonest FROM ledger_open_lot WHERE account_id = account.id
) AS open
WHERE account.id = ANY (%s::bigint[]) AND (
    account.sequence <> posted.sequence OR account.balance <> posted.balance
    OR account.outstanding_debt <> debt.points OR account.status <> coalesce(status.status, 'open')
    OR (open.soonest IS NOT NULL AND coalesce(account.next_expiry_at > open.soonest, true))
    OR account.last_recorded_at < posted.recorded_at
)
ORDER BY account.id
"""

_WRITE_OPEN_LOTS = """
WITH wanted AS (
    SELECT lot.id, lot.account_id, remaining, lot.points, lot.earned_at, lot.expires_at
    FROM unnest(%(lots)s::uuid[], %(remaining)s::bigint[]) AS given(lot_id, remaining)
    JOIN ledger_lot AS lot ON lot.id = given.lot_id
), used_up AS (
    DELETE FROM ledger_open_lot WHERE lot_id IN (SELECT id FROM wanted WHERE remaining = 0)
)
INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
SELECT id, account_id, remaining, points, earned_at, expires_at FROM wanted WHERE remaining > 0
ON CONFLICT (lot_id) DO UPDATE
SET account_id = EXCLUDED.account_id, remaining = EXCLUDED.remaining, points = EXCLUDED.points,
    earned_at = EXCLUDED.earned_at, expires_at = EXCLUDED.expires_at
"""

_WRITE_COUNTERS = """
UPDATE ledger_account
SET sequence = %(sequence)s, balance = %(balance)s, outstanding_debt = %(outstanding_debt)s,
    status = %(status)s, next_expiry_at = %(next_expiry_at)s, last_recorded_at = %(last_recorded_at)s
WHERE id = %(id)s
"""

_MARK_STALE = """
INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
SELECT id, sequence, clock_timestamp() FROM ledger_account WHERE id = ANY (%s::bigint[])
ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, marked_at = EXCLUDED.marked_at
"""
_CHANGES = "SELECT id, account_number, sequence FROM ledger_account WHERE id = ANY (%s::bigint[])"

_COUNTER_NAMES = (
    "sequence",
    "balance",
    "outstanding_debt",
    "status",
    "next_expiry_at",
    "last_recorded_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One projection that is not what follows from the truth. `because` says why it cannot be put right."""

    account_id: int
    account_number: str
    #: "open lot ID", or the name of a counter of the account.
    what: str
    kept: Any
    computed: Any
    because: str | None = None

    def sentence(self) -> str:
        change = f"account {self.account_number}: {self.what} {self.kept} -> {self.computed}"
        return change if self.because is None else f"{change} NOT CHANGED, {self.because}"


@dataclass(slots=True, kw_only=True)
class Rebuild:
    """What a run came to. `last_account_id` is where the next run may go on."""

    accounts: int = 0
    changed_accounts: int = 0
    changed: int = 0
    impossible: int = 0
    last_account_id: int = 0


@dataclass(slots=True)
class _Wanted:
    """What is to be written for some accounts."""

    differences: list[Difference] = field(default_factory=list)
    lots: dict[Any, int] = field(default_factory=dict)
    counters: list[dict[str, Any]] = field(default_factory=list)


def rebuild(
    *,
    account_number: str | None = None,
    after_account_id: int = 0,
    dry_run: bool = False,
    on_difference: Callable[[Difference], None] = lambda difference: None,
    on_batch: Callable[[Rebuild], None] = lambda run: None,
) -> Rebuild:
    """Compute the projections of all accounts, or of one, again, and put right what differs.

    In batches, in the order of ids, from behind `after_account_id`: a run that was ended goes on there,
    and running again changes nothing. Raises OperationNotFound for an account that was never opened, and
    OperationalError when an account stays locked longer than the lock timeout.
    """
    run = Rebuild(last_account_id=after_account_id)
    if account_number is not None:
        found = fetch_all(_ONE_ACCOUNT, [account_number])
        if not found:
            raise OperationNotFound("There is no such account.")
        _rebuild_batch([found[0][0]], run, dry_run=dry_run, on_difference=on_difference)
        return run
    while batch := [row[0] for row in fetch_all(_NEXT_ACCOUNTS, [run.last_account_id, _BATCH_ACCOUNTS])]:
        _rebuild_batch(batch, run, dry_run=dry_run, on_difference=on_difference)
        on_batch(run)
    return run


def _rebuild_batch(
    account_ids: Sequence[int], run: Rebuild, *, dry_run: bool, on_difference: Callable[[Difference], None]
) -> None:
    wanted = _compare(account_ids)
    suspects = sorted({difference.account_id for difference in wanted.differences})
    if suspects and not dry_run:
        with transaction.atomic():
            fetch_all(_LOCK_ACCOUNTS, [suspects])
            # What was seen without the lock may have been somebody's transaction in between.
            wanted = _write(suspects)
    for difference in wanted.differences:
        on_difference(difference)
    done = [difference for difference in wanted.differences if difference.because is None]
    run.accounts += len(account_ids)
    run.changed += len(done)
    run.changed_accounts += len({difference.account_id for difference in done})
    run.impossible += len(wanted.differences) - len(done)
    run.last_account_id = account_ids[-1]


def _compare(account_ids: Sequence[int]) -> _Wanted:
    wanted = _Wanted()
    _compare_lots(account_ids, wanted)
    _compare_counters(account_ids, wanted)
    return wanted


def _write(account_ids: Sequence[int]) -> _Wanted:
    """Put right what differs, under the locks of the accounts: the lots first, for counters follow them."""
    wanted = _Wanted()
    _compare_lots(account_ids, wanted)
    if wanted.lots:
        lots = {"lots": list(wanted.lots), "remaining": list(wanted.lots.values())}
        fetch_all(_WRITE_OPEN_LOTS, lots)
    _compare_counters(account_ids, wanted)
    for counters in wanted.counters:
        fetch_all(_WRITE_COUNTERS, counters)
    changed = sorted({difference.account_id for difference in wanted.differences})
    if changed:
        fetch_all(_MARK_STALE, [changed])
        transaction.on_commit(partial(_tell, changed), robust=True)
    return wanted


def _compare_lots(account_ids: Sequence[int], wanted: _Wanted) -> None:
    for account_id, number, lot_id, points, kept, computed in fetch_all(_LOTS, [list(account_ids)]):
        because = None
        if not 0 <= computed <= points:
            because = f"for the lot granted {points}: the history itself is wrong, see verify_ledger"
        else:
            wanted.lots[lot_id] = computed
        wanted.differences.append(
            Difference(
                account_id=account_id,
                account_number=number,
                what=f"open lot {lot_id}",
                kept=kept,
                computed=computed,
                because=because,
            )
        )


def _compare_counters(account_ids: Sequence[int], wanted: _Wanted) -> None:
    for account_id, number, *pairs in fetch_all(_COUNTERS, [list(account_ids)]):
        kept = dict(zip(_COUNTER_NAMES, pairs[0::2], strict=True))
        computed = dict(zip(_COUNTER_NAMES, pairs[1::2], strict=True))
        computed["last_recorded_at"] = max(kept["last_recorded_at"], computed["last_recorded_at"])
        reasons: dict[str, str] = {}
        if kept["sequence"] > computed["sequence"]:
            # A version that was handed out is never handed out again for another balance.
            reasons["sequence"] = "for a sequence never goes back (account_sequence_never_goes_back)"
        for name in ("balance", "outstanding_debt"):
            if computed[name] < 0:
                reasons[name] = "for it is below nothing: the history itself is wrong, see verify_ledger"
        wanted.differences.extend(
            Difference(
                account_id=account_id,
                account_number=number,
                what=name,
                kept=kept[name],
                computed=computed[name],
                because=reasons.get(name),
            )
            for name in _COUNTER_NAMES
            if kept[name] != computed[name]
        )
        wanted.counters.append({"id": account_id, **computed, **{name: kept[name] for name in reasons}})


def _tell(account_ids: Sequence[int]) -> None:
    """Redis may hold the wrong balance under the right version, so that a tombstone would not do."""
    rows = fetch_all(_CHANGES, [list(account_ids)])
    balances.announce(
        [
            BalanceChange(account_id=account_id, account_number=number, sequence=sequence)
            for account_id, number, sequence in rows
        ]
    )
    # Otherwise the marks stay, and the sweeper does it.
    with suppress(RedisUnavailable):
        balances.refresh(account_ids=list(account_ids))
