"""Ledgers made to measure: whole histories written by set-based statements, in time and memory that
do not grow with the size of one account.

What is written is a correct ledger: `verify_ledger` finds nothing wrong with it. Triggers and foreign
keys are left out while it is written, because the figures are of what comes after.
"""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from bench.statements import FIRST_WITH_UUID7

#: Rows written by one transaction, so that a big ledger needs no more memory than a small one.
_ROWS_AT_ONCE = 500_000


@dataclass(frozen=True, kw_only=True)
class History:
    """Accounts `{prefix}0` to `{prefix}{accounts - 1}`, all alike.

    Each has `used_lots` earns that a spend of the same size used up at once, then `open_lots` earns that
    nobody touched: 2 * used_lots + open_lots entries, as many allocations, and open_lots lots to spend.
    `lapsed`: the open lots lapsed an hour ago, and no expire entry was posted yet.
    """

    prefix: str
    accounts: int
    open_lots: int = 3
    used_lots: int = 0
    points: int = 1_000_000
    lapsed: bool = False

    @property
    def entries(self) -> int:
        return self.accounts * (2 * self.used_lots + self.open_lots)


def write(
    connection: psycopg.Connection, history: History, *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write `history` by the owner of the tables. Does nothing for accounts that are there already.

    `connection` is in autocommit mode, and of a superuser: triggers are switched off for its session.
    """
    if _is_there(connection, history):
        return
    connection.execute("SET session_replication_role = replica")
    try:
        per_account = 2 * history.used_lots + history.open_lots
        step = max(1, _ROWS_AT_ONCE // per_account)
        for first in range(0, history.accounts, step):
            beyond = min(first + step, history.accounts)
            _write_accounts(connection, history, first=first, beyond=beyond)
            if progress:
                progress(beyond, history.accounts)
    finally:
        connection.execute("RESET session_replication_role")
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def _is_there(connection: psycopg.Connection, history: History) -> bool:
    last = f"{history.prefix}{history.accounts - 1}"
    row = connection.execute("SELECT 1 FROM ledger_account WHERE account_number = %s", [last]).fetchone()
    return row is not None


# One row a lot: the ids of its earn, and of the spend that used it up where one did.
_MADE = """
CREATE TEMPORARY TABLE made ON COMMIT DROP AS
SELECT account.id AS account_id, account_number, nth,
    nth > %(used)s AS is_open,
    CASE WHEN nth > %(used)s THEN %(used)s + nth ELSE 2 * nth - 1 END AS sequence,
    CASE WHEN nth > %(used)s THEN %(points)s::bigint * (nth - %(used)s) ELSE %(points)s END AS balance_after,
    opened_at + 2 * nth * interval '1 millisecond' AS earned_at,
    CASE WHEN %(lapsed)s AND nth > %(used)s THEN clock_timestamp() - interval '1 hour'
        ELSE date_trunc('day', opened_at) + interval '400 days' + (nth %% 50) * interval '1 day'
    END AS expires_at,
    {id} AS lot_id, {id} AS earn_id, {id} AS earn_entry_id,
    CASE WHEN nth <= %(used)s THEN {id} END AS spend_id,
    CASE WHEN nth <= %(used)s THEN {id} END AS spend_entry_id
FROM new_account AS account, generate_series(1, %(used)s + %(open)s) AS nth
"""

_ACCOUNTS = """
CREATE TEMPORARY TABLE new_account ON COMMIT DROP AS
WITH account AS (
    INSERT INTO ledger_account (
        account_number, opened_at, status, sequence, balance, outstanding_debt, next_expiry_at,
        last_recorded_at
    )
    SELECT %(prefix)s || number, start.opened_at, 'open', 2 * %(used)s + %(open)s,
        %(open)s * %(points)s::bigint, 0, start.opened_at,
        start.opened_at + 2 * (%(used)s + %(open)s) * interval '1 millisecond'
    FROM generate_series(%(first)s::bigint, %(beyond)s::bigint - 1) AS number,
        (SELECT date_trunc('milliseconds', clock_timestamp()) - interval '30 days' AS opened_at) AS start
    RETURNING id, account_number, opened_at
)
SELECT * FROM account
"""

_OPERATIONS = """
INSERT INTO ledger_operation (
    id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id,
    recorded_at, balance_after
)
SELECT made.id, client.id, made.id::text, ''::bytea, kind, 'completed', account_number, %(points)s, reason.id,
    recorded_at, balance_after
FROM (
    SELECT earn_id AS id, 'earn' AS kind, 'ORDER_REWARD' AS reason, account_number,
        earned_at AS recorded_at, balance_after FROM made
    UNION ALL
    SELECT spend_id, 'spend', 'ORDER_PAYMENT', account_number, earned_at + interval '1 millisecond', 0
    FROM made WHERE NOT is_open
) AS made
JOIN ledger_reason AS reason ON reason.code = made.reason,
(SELECT min(id) AS id FROM ledger_client) AS client
"""

_ENTRIES = """
INSERT INTO ledger_entry (
    id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
)
SELECT earn_entry_id, account_id, sequence, earn_id, 'earn', %(points)s, balance_after, earned_at, earned_at
FROM made
UNION ALL
SELECT spend_entry_id, account_id, sequence + 1, spend_id, 'spend', -%(points)s, 0,
    earned_at + interval '1 millisecond', earned_at + interval '1 millisecond'
FROM made WHERE NOT is_open
"""

_LOTS = """
INSERT INTO ledger_lot (id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)
SELECT lot_id, account_id, earn_entry_id, %(points)s, earned_at, expires_at, policy.reason_id, policy.id
FROM made, (
    SELECT policy.id, policy.reason_id FROM ledger_reason_policy AS policy
    JOIN ledger_reason AS reason ON reason.id = policy.reason_id
    WHERE reason.code = 'ORDER_REWARD' ORDER BY version DESC LIMIT 1
) AS policy
"""

_ALLOCATIONS = """
INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
SELECT earn_entry_id, 0, lot_id, %(points)s FROM made
UNION ALL
SELECT spend_entry_id, 0, lot_id, -%(points)s FROM made WHERE NOT is_open
"""

_OPEN_LOTS = """
INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
SELECT lot_id, account_id, %(points)s, %(points)s, earned_at, expires_at FROM made WHERE is_open
"""

_NEXT_EXPIRY = """
UPDATE ledger_account AS account SET next_expiry_at = soonest.expires_at
FROM (SELECT account_id, min(expires_at) FILTER (WHERE is_open) AS expires_at FROM made GROUP BY 1) AS soonest
WHERE account.id = soonest.account_id
"""


def _write_accounts(connection: psycopg.Connection, history: History, *, first: int, beyond: int) -> None:
    parameters = {
        "prefix": history.prefix,
        "first": first,
        "beyond": beyond,
        "used": history.used_lots,
        "open": history.open_lots,
        "points": history.points,
        "lapsed": history.lapsed,
    }
    has_uuid7 = connection.info.server_version >= FIRST_WITH_UUID7
    make_id = "uuidv7()" if has_uuid7 else "ledger_uuid7(clock_timestamp())"
    with connection.transaction(), psycopg.ClientCursor(connection) as cursor:
        cursor.execute(_ACCOUNTS, parameters)
        cursor.execute(_MADE.format(id=make_id), parameters)
        for statement in (_OPERATIONS, _ENTRIES, _LOTS, _ALLOCATIONS, _OPEN_LOTS, _NEXT_EXPIRY):
            cursor.execute(statement, parameters)
