"""The plain spend in one statement and one round trip.

The statement reads the lots before it has the account's lock, and therefore writes only if the
sequence of the account is still the one it read: every change of a lot raises it. It takes lots
by the same rule as `ledger.allocation.take`, which tests hold it to. Wherever something is not plain
(lapsed lots, too few points, a known key, a waiting inbox, someone in between) it writes nothing, and
the general way decides (docs/adr/0004-the-write-path.md).
"""

from datetime import UTC

from django.db import DatabaseError

from ledger import bounds, clock, policies
from ledger.bounds import SpendingOrder
from ledger.commands import Spend
from ledger.database import fetch_all, raise_refusal
from ledger.errors import ValidationRefused
from ledger.identifiers import uuid7
from ledger.models import OperationKind
from ledger.operations._at_once import common_parameters, completed, give_way
from ledger.operations._loading import PREFIX
from ledger.operations._validity import check_occurred_at
from ledger.records import LotShare, Outcome

_TEMPLATE = f"""
WITH seen AS MATERIALIZED (
    SELECT id, sequence FROM ledger_account WHERE account_number = %(account_number)s
), lot AS MATERIALIZED (
    SELECT lot_id, remaining, earned_at, expires_at,
        (sum(remaining) OVER spending)::bigint - remaining AS before,
        (row_number() OVER spending)::integer - 1 AS position
    FROM (
        SELECT lot_id, remaining, earned_at, expires_at
        FROM ledger_open_lot
        WHERE account_id = (SELECT id FROM seen)
        ORDER BY <order>
        LIMIT {PREFIX}
    ) AS first
    WINDOW spending AS (ORDER BY <order> ROWS UNBOUNDED PRECEDING)
), taken AS MATERIALIZED (
    SELECT lot_id, remaining, expires_at, position, least(remaining, %(points)s - before) AS points
    FROM lot WHERE before < %(points)s
), key AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(%(lock_number)s) FROM seen
), account AS (
    UPDATE ledger_account AS account
    SET sequence = account.sequence + 1,
        balance = account.balance - %(points)s,
        last_recorded_at = greatest(account.last_recorded_at, %(now)s)
    FROM seen, key
    WHERE account.id = seen.id
        AND account.sequence = seen.sequence
        AND account.status = 'open'
        AND (
            account.next_expiry_at IS NULL
            OR account.next_expiry_at > greatest(account.last_recorded_at, %(now)s)
        )
        AND (SELECT sum(points) FROM taken) = %(points)s
        AND NOT EXISTS (SELECT FROM ledger_inbox AS inbox WHERE inbox.account_number = %(account_number)s)
        AND NOT EXISTS (
            SELECT FROM ledger_operation AS known
            WHERE known.client_id = %(client_id)s AND known.idempotency_key = %(idempotency_key)s
        )
    RETURNING account.id, account.sequence, account.balance, account.last_recorded_at AS recorded_at
), operation AS (
    INSERT INTO ledger_operation (
        id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id,
        reference, occurred_at, recorded_at, balance_after, metadata, actor
    )
    SELECT %(operation_id)s, %(client_id)s, %(idempotency_key)s, %(fingerprint)s, 'spend', 'completed',
        %(account_number)s, %(points)s, %(reason_id)s, %(reference)s, %(occurred_at)s, recorded_at,
        balance, %(metadata)s::jsonb, %(actor)s
    FROM account
), entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT %(entry_id)s, id, sequence, %(operation_id)s, 'spend', -%(points)s::bigint, balance, recorded_at,
        clock_timestamp()
    FROM account
), allocation AS (
    INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
    SELECT %(entry_id)s, position, lot_id, -points FROM taken, account
), used_up AS (
    DELETE FROM ledger_open_lot AS open USING taken, account
    WHERE open.lot_id = taken.lot_id AND taken.points = taken.remaining
), lowered AS (
    UPDATE ledger_open_lot AS open SET remaining = taken.remaining - taken.points FROM taken, account
    WHERE open.lot_id = taken.lot_id AND taken.points < taken.remaining
), stale_balance AS (
    INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
    SELECT id, sequence, clock_timestamp() FROM account
    ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, marked_at = EXCLUDED.marked_at
)
SELECT account.id, account.sequence, account.balance, account.recorded_at, taken.lot_id, taken.points,
    taken.expires_at
FROM account, taken
ORDER BY taken.position
"""  # noqa: S608  (only a constant of this code is put into the text)

_STATEMENTS = {
    SpendingOrder.SOONEST_EXPIRY: _TEMPLATE.replace("<order>", "expires_at, earned_at, lot_id"),
    SpendingOrder.OLDEST: _TEMPLATE.replace("<order>", "earned_at, lot_id"),
}


def spend_at_once(command: Spend) -> Outcome | None:
    """Spend if it is a plain one; None when the general way must decide. Raises AccountBusy,
    OperationInProgress, DatabaseUnavailable."""
    try:
        now = clock.now()
        policy = policies.current().reason_for(code=command.reason, kind=OperationKind.SPEND)
        check_occurred_at(command.occurred_at, now=now)
    except ValidationRefused:
        return None
    except DatabaseError as error:
        raise_refusal(error)
    parameters = common_parameters(command, now=now)
    parameters |= {"entry_id": uuid7(), "reason_id": policy.reason_id}
    try:
        rows = fetch_all(_STATEMENTS[bounds.current().spending_order], parameters)
    except DatabaseError as error:
        give_way(error)
        return None
    if not rows:
        return None
    lots = [
        LotShare(lot=row[4], points=row[5], expires_at=row[6].astimezone(UTC) if row[6] else None)
        for row in rows
    ]
    first = rows[0]
    return completed(
        command,
        kind=OperationKind.SPEND,
        reason=policy.reason_code,
        account=(first[0], first[1], first[2], first[3]),
        lots=lots,
    )
