"""Balances in Redis against the ledger: absent, or exactly what PostgreSQL says at that version.

Redis is read first and PostgreSQL after it, so that a version which PostgreSQL does not have is one
that never was. What is older than PostgreSQL is looked at again: between a commit and its announcement there
is a moment, and a process that is killed in it leaves its mark to the sweeper. Only what stays behind, or was
never marked, is a breach.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from ledger import balances, clock
from ledger.balances import CachedBalance
from ledger.database import fetch_all
from ledger.verification.collector import Collector

CHECKS = {
    "cached_balance_is_readable": ("I12", "what stands in Redis for an account is a balance or a tombstone"),
    "cached_version_is_not_ahead": ("I12", "Redis has no version that PostgreSQL does not have"),
    "cached_balance_is_current": ("I12", "a balance in Redis is not of an older version than the account"),
    "cached_balance_is_the_ledgers": ("I12", "a balance in Redis is what PostgreSQL says at that version"),
}

_ACCOUNTS_AT_ONCE = 1000
_LOOK_AGAIN_AFTER_SECONDS = 0.5
#: The sweeper has come by in less, wherever there is a worker.
_SWEPT_WITHIN_SECONDS = 15.0

_IN_LEDGER = """
SELECT account.account_number, account.sequence, account.balance - coalesce((
        SELECT sum(remaining) FROM ledger_open_lot AS lot
        WHERE lot.account_id = account.id AND lot.expires_at <= clock.now
    ), 0)::bigint, clock.now
FROM ledger_account AS account
CROSS JOIN (SELECT coalesce({now}, clock_timestamp()) AS now) AS clock
WHERE account.account_number = ANY (%s)
"""

_MARKED = """
SELECT account.account_number FROM ledger_stale_balance AS stale
JOIN ledger_account AS account ON account.id = stale.account_id
WHERE account.account_number = ANY (%s)
"""

_NEXT_ACCOUNTS = "SELECT id, account_number FROM ledger_account WHERE id > %s ORDER BY id LIMIT %s"


def check_cache(*, collector: Collector) -> int:
    """Note every cached balance that is wrong; returns how many were found in Redis.

    Raises RedisUnavailable.
    """
    found = 0
    for numbers in _account_numbers():
        cached = [balance for balance in balances.peek(account_numbers=numbers) if balance.state != "absent"]
        if not cached:
            continue
        found += len(cached)
        behind = _compare(cached, collector=collector)
        if behind:
            _look_again(behind, collector=collector)
    return found


def _account_numbers() -> Iterator[Sequence[str]]:
    last = 0
    while rows := fetch_all(_NEXT_ACCOUNTS, [last, _ACCOUNTS_AT_ONCE]):
        last = rows[-1][0]
        yield [number for _, number in rows]


def _compare(cached: Sequence[CachedBalance], *, collector: Collector) -> list[CachedBalance]:
    """Note what is wrong for certain; returns the balances that are older than their accounts."""
    in_ledger = _in_ledger(cached)
    behind = []
    for balance in cached:
        sequence, available, now = in_ledger[balance.account_number]
        if balance.sequence is None:
            collector.note("cached_balance_is_readable", account=balance.account_number)
        elif balance.sequence > sequence:
            collector.note(
                "cached_version_is_not_ahead",
                account=balance.account_number,
                version_in_redis=balance.sequence,
                sequence=sequence,
            )
        elif balance.valid_until is None or balance.valid_until <= now:
            # A tombstone, or what nobody is shown any more.
            continue
        elif balance.sequence < sequence:
            behind.append(balance)
        elif balance.available != available:
            collector.note(
                "cached_balance_is_the_ledgers",
                account=balance.account_number,
                sequence=sequence,
                in_redis=balance.available,
                available=available,
            )
    return behind


def _look_again(behind: Sequence[CachedBalance], *, collector: Collector) -> None:
    give_up_at = time.monotonic() + _SWEPT_WITHIN_SECONDS
    while behind:
        time.sleep(_LOOK_AGAIN_AFTER_SECONDS)
        again = balances.peek(account_numbers=[balance.account_number for balance in behind])
        behind = [now for before, now in zip(behind, again, strict=True) if now == before]
        marked = _marked(behind) if time.monotonic() < give_up_at else set()
        left = [balance for balance in behind if balance.account_number not in marked]
        in_ledger = _in_ledger(left)
        for balance in left:
            collector.note(
                "cached_balance_is_current",
                account=balance.account_number,
                version_in_redis=balance.sequence,
                sequence=in_ledger[balance.account_number][0],
            )
        behind = [balance for balance in behind if balance.account_number in marked]


def _marked(cached: Sequence[CachedBalance]) -> set[str]:
    """Those of these that the sweeper is still to look at."""
    return {number for (number,) in fetch_all(_MARKED, [[balance.account_number for balance in cached]])}


def _in_ledger(cached: Sequence[CachedBalance]) -> dict[str, tuple[int, int, datetime]]:
    """By account number: its sequence, what is available now, and that instant."""
    rows = fetch_all(
        _IN_LEDGER.format(now=clock.now_expression()), [[balance.account_number for balance in cached]]
    )
    return {number: (sequence, available, now) for number, sequence, available, now in rows}
