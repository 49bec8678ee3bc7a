"""The one statement that writes entries: everything an operation decided goes in together.

Rows are collected as plain tuples and written in one round trip, whether one operation or a
thousand were decided. The statement also keeps the projections: what remains in the lots, the
counters of the accounts, and the mark that a balance in Redis may be stale
(docs/adr/0004-the-write-path.md).
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from ledger.allocation import LotState
from ledger.database import fetch_all


@dataclass(slots=True, kw_only=True)
class OperationRow:
    id: UUID
    client_id: int
    idempotency_key: str
    fingerprint: str  # hexadecimal
    kind: str
    state: str
    account_number: str
    to_account_number: str | None = None
    points: int
    reason_id: int | None
    reference: str | None
    occurred_at: datetime | None
    recorded_at: datetime
    cancels_id: UUID | None = None
    balance_after: int | None = None
    uncollected_points: int | None = None
    metadata: Any = None
    refusal: dict[str, Any] | None = None
    actor: str | None = None


@dataclass(slots=True, kw_only=True)
class EntryRow:
    id: UUID
    account_id: int
    sequence: int
    operation_id: UUID
    kind: str
    points: int
    balance_after: int
    recorded_at: datetime


@dataclass(slots=True, kw_only=True)
class LotRow:
    id: UUID
    account_id: int
    entry_id: UUID
    points: int
    earned_at: datetime
    expires_at: datetime | None
    reason_id: int
    policy_id: int
    origin_id: UUID | None = None


@dataclass(slots=True, kw_only=True)
class AllocationRow:
    entry_id: UUID
    position: int
    lot_id: UUID
    points: int


@dataclass(slots=True, kw_only=True)
class DebtRow:
    id: UUID
    account_id: int
    operation_id: UUID
    entry_id: UUID | None
    points: int
    recorded_at: datetime


@dataclass(slots=True, kw_only=True)
class OpenLotRow:
    lot_id: UUID
    account_id: int
    remaining: int
    points: int
    earned_at: datetime
    expires_at: datetime | None

    @classmethod
    def of(cls, lot: LotState) -> "OpenLotRow":
        return cls(
            lot_id=lot.id,
            account_id=lot.account_id,
            remaining=lot.remaining,
            points=lot.points,
            earned_at=lot.earned_at,
            expires_at=lot.expires_at,
        )


@dataclass(slots=True, kw_only=True)
class AccountRow:
    id: int
    sequence: int
    balance: int
    outstanding_debt: int
    next_expiry_at: datetime | None
    last_recorded_at: datetime


@dataclass(slots=True)
class Posting:
    """All rows that one transaction will write."""

    operations: list[OperationRow] = field(default_factory=list)
    #: Operations that were accepted before and end now.
    ended_operations: list[OperationRow] = field(default_factory=list)
    entries: list[EntryRow] = field(default_factory=list)
    lots: list[LotRow] = field(default_factory=list)
    allocations: list[AllocationRow] = field(default_factory=list)
    debts: list[DebtRow] = field(default_factory=list)
    open_lots: list[OpenLotRow] = field(default_factory=list)
    used_up_lots: list[UUID] = field(default_factory=list)
    accounts: list[AccountRow] = field(default_factory=list)

    def write(self) -> None:
        """Write all rows, in the caller's transaction. Raises what the constraints refuse."""
        fetch_all(
            _FOLDED_STATEMENT,
            {
                "operations": _json(self.operations),
                "ended_operations": _json(self.ended_operations),
                "entries": _json(self.entries),
                "lots": _json(self.lots),
                "allocations": _json(self.allocations),
                "debts": _json(self.debts),
                "open_lots": _json(self.open_lots),
                "used_up_lots": "{" + ",".join(map(str, self.used_up_lots)) + "}",
                "accounts": _json(self.accounts),
            },
        )


_encoder = msgspec.json.Encoder()


def _json(rows: list[Any]) -> str:
    return _encoder.encode(rows).decode()


_OPERATION_COLUMNS = """
    id uuid, client_id integer, idempotency_key text, fingerprint text, kind text, state text,
    account_number text, to_account_number text, points bigint, reason_id smallint, reference text,
    occurred_at timestamptz, recorded_at timestamptz, cancels_id uuid, balance_after bigint,
    uncollected_points bigint, metadata jsonb, refusal jsonb, actor text
"""

_STATEMENT = f"""
WITH new_operation AS (
    INSERT INTO ledger_operation (
        id, client_id, idempotency_key, fingerprint, kind, state, account_number, to_account_number,
        points, reason_id, reference, occurred_at, recorded_at, cancels_id, balance_after,
        uncollected_points, metadata, refusal, actor
    )
    SELECT id, client_id, idempotency_key, decode(fingerprint, 'hex'), kind, state, account_number,
        to_account_number, points, reason_id, reference, occurred_at, recorded_at, cancels_id,
        balance_after, uncollected_points, metadata, refusal, actor
    FROM json_to_recordset(%(operations)s::json) AS row({_OPERATION_COLUMNS})
), ended_operation AS (
    UPDATE ledger_operation AS operation
    SET state = row.state, kind = row.kind, account_number = row.account_number, points = row.points,
        reason_id = row.reason_id, recorded_at = row.recorded_at, cancels_id = row.cancels_id,
        balance_after = row.balance_after, uncollected_points = row.uncollected_points, refusal = row.refusal
    FROM json_to_recordset(%(ended_operations)s::json) AS row(
        id uuid, kind text, state text, account_number text, points bigint, reason_id smallint,
        recorded_at timestamptz, cancels_id uuid, balance_after bigint, uncollected_points bigint,
        refusal jsonb
    )
    WHERE operation.id = row.id
), new_entry AS (
    INSERT INTO ledger_entry (
        id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, posted_at
    )
    SELECT id, account_id, sequence, operation_id, kind, points, balance_after, recorded_at, clock_timestamp()
    FROM json_to_recordset(%(entries)s::json) AS row(
        id uuid, account_id bigint, sequence bigint, operation_id uuid, kind text, points bigint,
        balance_after bigint, recorded_at timestamptz
    )
), new_lot AS (
    INSERT INTO ledger_lot (
        id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id, origin_id
    )
    SELECT id, account_id, entry_id, points, earned_at, expires_at, reason_id, policy_id, origin_id
    FROM json_to_recordset(%(lots)s::json) AS row(
        id uuid, account_id bigint, entry_id uuid, points bigint, earned_at timestamptz,
        expires_at timestamptz, reason_id smallint, policy_id integer, origin_id uuid
    )
), new_allocation AS (
    INSERT INTO ledger_allocation (entry_id, position, lot_id, points)
    SELECT entry_id, position, lot_id, points
    FROM json_to_recordset(%(allocations)s::json) AS row(
        entry_id uuid, position integer, lot_id uuid, points bigint
    )
), new_debt AS (
    INSERT INTO ledger_debt (id, account_id, operation_id, entry_id, points, recorded_at)
    SELECT id, account_id, operation_id, entry_id, points, recorded_at
    FROM json_to_recordset(%(debts)s::json) AS row(
        id uuid, account_id bigint, operation_id uuid, entry_id uuid, points bigint, recorded_at timestamptz
    )
), open_lot AS (
    INSERT INTO ledger_open_lot (lot_id, account_id, remaining, points, earned_at, expires_at)
    SELECT lot_id, account_id, remaining, points, earned_at, expires_at
    FROM json_to_recordset(%(open_lots)s::json) AS row(
        lot_id uuid, account_id bigint, remaining bigint, points bigint, earned_at timestamptz,
        expires_at timestamptz
    )
    ON CONFLICT (lot_id) DO UPDATE SET remaining = EXCLUDED.remaining
), used_up_lot AS (
    DELETE FROM ledger_open_lot WHERE lot_id = ANY (%(used_up_lots)s::uuid[])
), account AS (
    UPDATE ledger_account AS account
    SET sequence = row.sequence, balance = row.balance, outstanding_debt = row.outstanding_debt,
        next_expiry_at = row.next_expiry_at, last_recorded_at = row.last_recorded_at
    FROM json_to_recordset(%(accounts)s::json) AS row(
        id bigint, sequence bigint, balance bigint, outstanding_debt bigint, next_expiry_at timestamptz,
        last_recorded_at timestamptz
    )
    WHERE account.id = row.id
    RETURNING account.id, account.sequence
)
INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)
SELECT id, sequence, clock_timestamp() FROM account
ON CONFLICT (account_id) DO UPDATE SET sequence = EXCLUDED.sequence, marked_at = EXCLUDED.marked_at
"""  # noqa: S608  (only the constant above is put into the text)

# psycopg keeps the parsed form of statements of up to 4,096 characters, so white space is folded.
_FOLDED_STATEMENT = " ".join(_STATEMENT.split())
