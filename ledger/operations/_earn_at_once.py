"""The plain earn in one statement and one round trip: most of all operations are this.

The statement locks the account row by updating it, and does everything that `_earn.decide` and the
posting statement would. Wherever something is not plain (a new account, a known key, a block, a
debt, lapsed lots, a waiting inbox, a value that must be refused) it writes nothing and the general
way decides; two equal keys at once are caught by the unique constraint and go that way too. Both
ways are held equal by tests (docs/adr/0004-the-write-path.md). The lot is later than every other of
the account, if only by a microsecond (`Desk.granted_at`).
"""

from django.db import DatabaseError

from ledger import clock, policies
from ledger.commands import Earn
from ledger.database import fetch_one, raise_refusal
from ledger.errors import ValidationRefused
from ledger.identifiers import uuid7
from ledger.models import OperationKind
from ledger.operations._at_once import common_parameters, completed, give_way
from ledger.operations._validity import check_occurred_at, expiry_of
from ledger.records import LotShare, Outcome

_STATEMENT = """
WITH key AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(%(lock_number)s)
), account AS (
    UPDATE ledger_account
    SET sequence = sequence + 1,
        balance = balance + %(points)s,
        last_recorded_at = greatest(last_recorded_at + interval '1 microsecond', %(now)s),
        next_expiry_at = least(next_expiry_at, %(expires_at)s)
    FROM key
    WHERE account_number = %(account_number)s
        AND sequence > 0
        AND status = 'open'
        AND outstanding_debt = 0
        AND (
            next_expiry_at IS NULL
            OR next_expiry_at > greatest(last_recorded_at + interval '1 microsecond', %(now)s)
        )
        AND (
            %(expires_at)s::timestamptz IS NULL
            OR %(expires_at)s > last_recorded_at + interval '1 microsecond'
        )
        AND NOT EXISTS (SELECT FROM ledger_inbox AS inbox WHERE inbox.account_number = %(account_number)s)
        AND NOT EXISTS (
            SELECT FROM ledger_operation
            WHERE client_id = %(client_id)s AND idempotency_key = %(idempotency_key)s
        )
    RETURNING id, sequence, balance, last_recorded_at AS recorded_at
), operation AS (
    INSERT INTO ledger_operation (
        id, client_id, idempotency_key, fingerprint, kind, state, account_number, points, reason_id,
        reference, occurred_at, recorded_at, balance_after, metadata, actor
    )
    SELECT %(operation_id)s, %(client_id)s, %(idempotency_key)s, %(fingerprint)s, 'earn', 'completed',
        %(account_number)s, %(points)s, %(reason_id)s, %(reference)s, %(occurred_at)s, recorded_at,
        balance, %(metadata)s::jsonb, %(actor)s
    FROM account
), entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT %(entry_id)s, id, sequence, %(operation_id)s, 'earn', %(points)s, balance, recorded_at,
        clock_timestamp()
    FROM account
), lot AS (
    INSERT INTO ledger_lot (id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id)
    SELECT %(lot_id)s, id, %(entry_id)s, %(points)s, recorded_at, %(expires_at)s, %(reason_id)s, %(policy_id)s
    FROM account
), allocation AS (
    INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
    SELECT %(entry_id)s, 0, %(lot_id)s, %(points)s FROM account
), open_lot AS (
    INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
    SELECT %(lot_id)s, id, %(points)s, %(points)s, recorded_at, %(expires_at)s FROM account
), stale_balance AS (
    INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
    SELECT id, sequence, clock_timestamp() FROM account
    ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, marked_at = EXCLUDED.marked_at
)
SELECT id, sequence, balance, recorded_at FROM account
"""


def earn_at_once(command: Earn) -> Outcome | None:
    """Earn if it is a plain one; None when the general way must decide. Raises AccountBusy,
    OperationInProgress, DatabaseUnavailable."""
    try:
        now = clock.now()
        policy = policies.current().reason_for(code=command.reason, kind=OperationKind.EARN)
        check_occurred_at(command.occurred_at, now=now)
        expires_at = expiry_of(command, policy=policy, now=now)
    except ValidationRefused:
        return None
    except DatabaseError as error:
        raise_refusal(error)
    lot_id = uuid7()
    parameters = common_parameters(command, now=now)
    parameters |= {
        "entry_id": uuid7(),
        "lot_id": lot_id,
        "expires_at": expires_at,
        "reason_id": policy.reason_id,
        "policy_id": policy.id,
    }
    try:
        row = fetch_one(_STATEMENT, parameters)
    except DatabaseError as error:
        give_way(error)
        return None
    if row is None:
        return None
    return completed(
        command,
        kind=OperationKind.EARN,
        reason=policy.reason_code,
        account=(row[0], row[1], row[2], row[3]),
        lots=[LotShare(lot=lot_id, points=command.points, expires_at=expires_at)],
    )
