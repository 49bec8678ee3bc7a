"""What the ledger answers: plain records, the same whichever side decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class LotShare:
    """Points of one lot that an operation granted, took or gave back. Always positive."""

    lot: UUID
    points: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRecord:
    """An operation and its outcome. Points in whole points, times aware and in UTC.

    `lots` and `balance_after` are None where the deciding side cannot tell.
    """

    id: UUID
    kind: str
    state: str
    account_number: str
    to_account_number: str | None = None
    points: int
    reason: str | None
    reference: str | None
    occurred_at: datetime | None
    recorded_at: datetime
    cancels: UUID | None = None
    cancellable_points: int
    uncollected_points: int | None = None
    balance_after: int | None
    lots: Sequence[LotShare] | None
    metadata: dict[str, Any] | None
    #: The stored refusal of a failed operation: {"code", "detail"}.
    refusal: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command came to, and whether it had come to that before (same key, same body)."""

    operation: OperationRecord
    is_replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsAt:
    points: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsBefore:
    points: int
    before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceRecord:
    """What can be spent at `as_of`, and what of it lapses soon."""

    account_number: str
    available: int
    #: None where the deciding side cannot tell.
    expiring_soon: PointsBefore | None
    next_expiry: PointsAt | None
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LotRecord:
    id: UUID
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    reason: str | None
    origin: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One entry as clients see it, newest first, with the balance after it."""

    id: UUID
    operation_id: UUID
    kind: str
    points: int
    #: None where the deciding side cannot tell.
    balance_after: int | None
    reason: str | None
    reference: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPreview:
    """The lots that a spend would take now, and what would be left. Nothing is written."""

    account_number: str
    points: int
    lots: Sequence[LotShare]
    available: int
    available_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """One cursor page. A cursor is opaque to clients; None where there is nothing further."""

    data: Sequence[Row]
    next: str | None
    previous: str | None
