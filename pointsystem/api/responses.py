"""What clients receive: the ledger's records become these, field by field, and nothing else goes out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from ledger.records import BalanceRecord, HistoryLine, LotRecord, LotShare, OperationRecord
from pointsystem.api.problems import Problem

Row = TypeVar("Row")


class LotSharePart(msgspec.Struct, frozen=True):
    """Points of one lot that an operation granted, took or gave back."""

    lot: UUID
    points: int
    expires_at: datetime | None


class OperationResponse(msgspec.Struct, frozen=True, kw_only=True):
    """An operation and its outcome. `lots` and `balance_after` are null where they are not known (yet)."""

    id: UUID
    kind: Literal["earn", "spend", "earn_cancel", "spend_cancel", "transfer", "adjust", "expire"]
    state: Literal["pending", "accepted", "completed", "failed", "in_doubt"]
    account_number: str
    to_account_number: str | UnsetType = UNSET
    points: int
    reason: str | None
    reference: str | None
    occurred_at: datetime | None
    recorded_at: datetime
    cancels: UUID | UnsetType = UNSET
    cancellable_points: int
    uncollected_points: int | UnsetType = UNSET
    balance_after: int | None
    lots: list[LotSharePart] | None
    metadata: dict[str, Any] | None
    refusal: "Refusal | UnsetType" = UNSET


class Refusal(msgspec.Struct, frozen=True):
    """Why a failed operation failed: a code of the error list, and a sentence."""

    code: str
    detail: str


class ExpiringSoon(msgspec.Struct, frozen=True):
    points: int
    before: datetime


class NextExpiry(msgspec.Struct, frozen=True):
    points: int
    at: datetime


class BalanceResponse(msgspec.Struct, frozen=True, kw_only=True):
    """What can be spent at `as_of`, and what of it lapses soon (null where that cannot be told)."""

    account_number: str
    available: int
    expiring_soon: ExpiringSoon | None
    next_expiry: NextExpiry | None
    as_of: datetime


class Lot(msgspec.Struct, frozen=True, kw_only=True):
    """What one earning granted. `origin` names the lot it came out of by a transfer or with grace."""

    id: UUID
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    reason: str | None
    origin: UUID | None


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the account: signed points, and the balance after them (null where it cannot be told)."""

    id: UUID
    operation_id: UUID
    kind: Literal[
        "earn",
        "spend",
        "earn_cancel",
        "spend_cancel",
        "expire",
        "transfer_out",
        "transfer_in",
        "adjust",
        "clawback",
    ]
    points: int
    balance_after: int | None
    reason: str | None
    reference: str | None
    recorded_at: datetime


class _Page(msgspec.Struct, Generic[Row], frozen=True):
    data: list[Row]
    next: str | None
    previous: str | None


class OperationsPage(_Page[OperationResponse], frozen=True):
    """Operations, oldest first."""


class LotsPage(_Page[Lot], frozen=True):
    """Lots in the order in which a spend takes them."""


class HistoryPage(_Page[HistoryEntry], frozen=True):
    """Entries, newest first."""


class SpendPreviewResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The lots that a spend would take now, and what would be left."""

    account_number: str
    points: int
    lots: list[LotSharePart]
    available: int
    available_after: int


class BatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item: the status that it would have had alone, and its operation or problem."""

    status: int
    operation: OperationResponse | UnsetType = UNSET
    problem: Problem | UnsetType = UNSET


class BatchResponse(msgspec.Struct, frozen=True):
    """One result for each item, in order."""

    results: list[BatchResult]


class HealthResponse(msgspec.Struct, frozen=True):
    status: Literal["alive"]


class ReadinessResponse(msgspec.Struct, frozen=True):
    """`down` names what does not answer: database, redis, broker, legacy."""

    status: Literal["ready", "degraded", "down"]
    down: list[str]


def shares(lots: Sequence[LotShare]) -> list[LotSharePart]:
    return [LotSharePart(share.lot, share.points, share.expires_at) for share in lots]


def operation(record: OperationRecord) -> OperationResponse:
    refusal = record.refusal
    return OperationResponse(
        id=record.id,
        kind=record.kind,  # type: ignore[arg-type]
        state=record.state,  # type: ignore[arg-type]
        account_number=record.account_number,
        to_account_number=UNSET if record.to_account_number is None else record.to_account_number,
        points=record.points,
        reason=record.reason,
        reference=record.reference,
        occurred_at=record.occurred_at,
        recorded_at=record.recorded_at,
        cancels=UNSET if record.cancels is None else record.cancels,
        cancellable_points=record.cancellable_points,
        uncollected_points=UNSET if record.uncollected_points is None else record.uncollected_points,
        balance_after=record.balance_after,
        lots=None if record.lots is None else shares(record.lots),
        metadata=record.metadata,
        refusal=UNSET if refusal is None else Refusal(refusal["code"], refusal["detail"]),
    )


def balance(record: BalanceRecord) -> BalanceResponse:
    soon, expiry = record.expiring_soon, record.next_expiry
    return BalanceResponse(
        account_number=record.account_number,
        available=record.available,
        expiring_soon=None if soon is None else ExpiringSoon(soon.points, soon.before),
        next_expiry=None if expiry is None else NextExpiry(expiry.points, expiry.at),
        as_of=record.as_of,
    )


def lot(record: LotRecord) -> Lot:
    return Lot(
        id=record.id,
        points=record.points,
        remaining=record.remaining,
        earned_at=record.earned_at,
        expires_at=record.expires_at,
        reason=record.reason,
        origin=record.origin,
    )


def history_entry(line: HistoryLine) -> HistoryEntry:
    return HistoryEntry(
        id=line.id,
        operation_id=line.operation_id,
        kind=line.kind,  # type: ignore[arg-type]
        points=line.points,
        balance_after=line.balance_after,
        reason=line.reason,
        reference=line.reference,
        recorded_at=line.recorded_at,
    )
