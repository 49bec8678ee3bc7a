"""The locks of the ledger, all of them, in the order in which they are taken.

1. The key of a single operation (advisory), so that the same request sent twice at once waits for
   itself, and a wait that is too long can say so.
2. The accounts, in the order of their ids, `FOR NO KEY UPDATE`: entries, lots and open lots refer
   to the account row, and the stronger `FOR UPDATE` would make their foreign keys wait for it.

Every statement waits at most `lock_timeout` (POINTS_LOCK_TIMEOUT_SECONDS) of its connection. What
was read before a lock was had is never decided on: rows are read in the statements after it, which
under READ COMMITTED see everything that committed before.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from ledger.book import Book
from ledger.database import Parameters, fetch_all
from ledger.idempotency import lock_number

_LOCK_KEY = "SELECT pg_advisory_xact_lock(%s)"

_LOCK_ACCOUNTS = """
SELECT id, account_number, status, sequence, balance, outstanding_debt, next_expiry_at, last_recorded_at
FROM ledger_account
WHERE account_number = ANY (%s)
ORDER BY id
FOR NO KEY UPDATE
"""

_OPEN_ACCOUNTS = """
INSERT INTO ledger_account (
    account_number, opened_at, status, sequence, balance, outstanding_debt, next_expiry_at, last_recorded_at
)
SELECT number, %(now)s, 'open', 0, 0, 0, NULL, %(now)s
FROM unnest(%(numbers)s::text[]) AS number
ORDER BY number
ON CONFLICT (account_number) DO NOTHING
"""


# The instant of each account's own first operation: a history comes with old ones.
_OPEN_ACCOUNTS_AT = """
INSERT INTO ledger_account (
    account_number, opened_at, status, sequence, balance, outstanding_debt, next_expiry_at, last_recorded_at
)
SELECT number, opened_at, 'open', 0, 0, 0, NULL, opened_at
FROM unnest(%s::text[], %s::timestamptz[]) AS missing(number, opened_at)
ORDER BY number
ON CONFLICT (account_number) DO NOTHING
"""


def key_lock(*, client_id: int, idempotency_key: str) -> tuple[str, Parameters]:
    """The statement that waits for a request with the same key."""
    return _LOCK_KEY, [lock_number(client_id=client_id, idempotency_key=idempotency_key)]


def account_locks(account_numbers: Collection[str]) -> tuple[str, Parameters]:
    """The statement that locks accounts in id order; `books` reads its rows."""
    return _LOCK_ACCOUNTS, [list(account_numbers)]


def open_accounts(account_numbers: Collection[str], *, now: datetime) -> None:
    """Open accounts that were never seen. Whoever comes second waits, and changes nothing."""
    fetch_all(_OPEN_ACCOUNTS, {"numbers": list(account_numbers), "now": now})


def open_accounts_at(opened_at: Mapping[str, datetime]) -> None:
    """The same, each at an instant of its own."""
    fetch_all(_OPEN_ACCOUNTS_AT, [list(opened_at), list(opened_at.values())])


def books(rows: Collection[tuple[Any, ...]]) -> dict[str, Book]:
    """The locked accounts by number, without their lots."""
    return {
        row[1]: Book(
            id=row[0],
            account_number=row[1],
            status=row[2],
            sequence=row[3],
            balance=row[4],
            outstanding_debt=row[5],
            next_expiry_at=row[6],
            last_recorded_at=row[7],
        )
        for row in rows
    }
