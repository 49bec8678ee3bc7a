"""A ledger of any size, in the transaction of a test: ten earns for each account, spread over ten months."""

from typing import Any, Final

from django.db import connection

_STATEMENTS: Final = (
    """
    INSERT INTO ledger_account (account_number, opened_at, status, sequence, balance, outstanding_debt,
        last_recorded_at, next_expiry_at)
    SELECT 'big-' || number, '2025-05-01', 'open', 10, 100, 0, '2026-02-11', '2027-05-01'
    FROM generate_series(1, %(accounts)s) AS number
    """,
    """
    CREATE TEMPORARY TABLE big ON COMMIT DROP AS
    SELECT account.id AS account_id, account.account_number, month,
        md5('o' || account.id || '-' || month)::uuid AS operation_id,
        md5('e' || account.id || '-' || month)::uuid AS entry_id,
        md5('l' || account.id || '-' || month)::uuid AS lot_id,
        timestamptz '2025-05-10 12:00+09' + (month - 1) * interval '1 month' AS recorded_at
    FROM ledger_account AS account CROSS JOIN generate_series(1, 10) AS month
    WHERE account.account_number LIKE 'big-%%'
    """,
    """
    INSERT INTO ledger_operation (id, client_id, idempotency_key, fingerprint, kind, state, account_number,
        points, reason_id, recorded_at, balance_after)
    SELECT operation_id, (SELECT min(id) FROM ledger_client), operation_id::text, '\\x00', 'earn',
        'completed', account_number, 10, reason.id, recorded_at, month * 10
    FROM big JOIN ledger_reason AS reason ON reason.code = 'ORDER_REWARD'
    """,
    # In one statement, for the guards look at what stands when it ends.
    """
    WITH entry AS (
        INSERT INTO ledger_entry (id, account_id, sequence, operation_id, kind, points, balance_after,
            recorded_at, posted_at)
        SELECT entry_id, account_id, month, operation_id, 'earn', 10, month * 10, recorded_at, recorded_at
        FROM big ORDER BY recorded_at
    ), lot AS (
        INSERT INTO ledger_lot (id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)
        SELECT lot_id, account_id, entry_id, 10, recorded_at, recorded_at + interval '2 years', reason.id,
            policy.id
        FROM big
        JOIN ledger_reason AS reason ON reason.code = 'ORDER_REWARD'
        JOIN ledger_reason_policy AS policy ON policy.reason_id = reason.id AND policy.version = 1
    ), allocation AS (
        INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
        SELECT entry_id, 0, lot_id, 10 FROM big
    )
    INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
    SELECT lot_id, account_id, 10, 10, recorded_at, recorded_at + interval '2 years' FROM big
    """,
)


def fill(*, accounts: int) -> None:
    """Ten times as many entries, lots and allocations as accounts."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '600s'")
        given: dict[str, Any] = {"accounts": accounts}
        for statement in _STATEMENTS:
            cursor.execute(statement, given)
