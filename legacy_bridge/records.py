"""What is asked of a legacy and what it answers: plain values, in its own ids and in aware times.

Points are whole numbers. A moment is aware and in UTC here, whatever the legacy keeps; an adapter
translates (`LegacyAdapter.instant`, `LegacyAdapter.local`). What a migration reads by the million is a
`Struct`: made in a fraction of the time of a frozen dataclass, and never looked at by the garbage collector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from msgspec import Struct


class ByLegacy(Enum):
    """The one value that says "as the legacy decides", where None says "never"."""

    BY_LEGACY = "by legacy"


BY_LEGACY: Final = ByLegacy.BY_LEGACY


# --- asked ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class EarnRequest:
    operation_id: UUID
    account_number: str
    points: int
    reason: str
    reference: str | None
    #: When the points lapse; only an adapter that `takes_expires_at` is given anything but BY_LEGACY.
    expires_at: datetime | ByLegacy | None = BY_LEGACY


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRequest:
    operation_id: UUID
    account_number: str
    points: int
    reason: str
    reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """Cancel `points` of the earn or spend that the legacy keeps as row `cancelled_row_id`."""

    operation_id: UUID
    account_number: str
    points: int
    reason: str
    reference: str | None
    is_of_spend: bool
    cancelled_row_id: str
    #: Points of the cancelled operation, and what was cancelled of it before.
    cancelled_points: int
    already_cancelled_points: int


Request: TypeAlias = EarnRequest | SpendRequest | CancelRequest


# --- answered -------------------------------------------------------------------------------------------
class Share(Struct, frozen=True, kw_only=True, gc=False):
    """Points of one lot that an operation granted, took or gave back. Always positive."""

    lot_id: str
    points: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the legacy did. `balance_after` and `shares` are None where it cannot tell."""

    #: The row of the legacy's history that the operation became; None where it keeps no such row.
    row_id: str | None
    points: int
    recorded_at: datetime
    balance_after: int | None = None
    shares: tuple[Share, ...] | None = None
    #: The account that the answer names, where it names one: it is compared with the one that was meant.
    account_number: str | None = None


class RowKind(Enum):
    EARN = "earn"
    SPEND = "spend"
    EARN_CANCEL = "earn_cancel"
    SPEND_CANCEL = "spend_cancel"
    EXPIRE = "expire"
    ADJUST = "adjust"


class HistoryRow(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the legacy's history, whoever made it. `points` is signed, as it moved the balance."""

    row_id: str
    account_number: str
    kind: RowKind
    points: int
    recorded_at: datetime
    balance_after: int | None = None
    #: A reason of the API, as `LegacyAdapter.reason_of` gives it; None for what has none.
    reason: str | None = None
    reference: str | None = None
    #: The operation of the API that it is, where the legacy keeps our id.
    operation_id: UUID | None = None
    #: The earlier row that it cancels, where the legacy keeps that.
    cancels_row_id: str | None = None
    #: The procedure that makes such rows, and who called it, where the legacy keeps that.
    procedure: str = ""
    caller: str = ""
    shares: tuple[Share, ...] | None = None

    @property
    def decision(self) -> Decision:
        """What the row says that the legacy did."""
        return Decision(
            row_id=self.row_id,
            points=abs(self.points),
            recorded_at=self.recorded_at,
            balance_after=self.balance_after,
            shares=self.shares,
        )


class LegacyLot(Struct, frozen=True, kw_only=True, gc=False):
    lot_id: str
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyBalance:
    """What can be spent now. `expiring_points` (before the instant asked about) is None where the
    legacy cannot tell; so is `next_expiry` without `tells_next_expiry`."""

    available: int
    expiring_points: int | None = None
    next_expiry: tuple[datetime, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthTotal:
    """How many rows of a kind and reason a month of the legacy's zone has, and their points, signed."""

    kind: RowKind
    reason: str | None
    rows: int
    points: int


# --- settled --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """It was done, and this is what it did."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class NotApplied:
    """It was not done, and can no longer be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StillUnknown:
    """The legacy cannot tell (yet). `is_final` when asking again will not help: a person decides."""

    why: str
    is_final: bool = False
    #: What was found, for the person.
    evidence: Mapping[str, Any] = field(default_factory=dict)


Settled: TypeAlias = Applied | NotApplied | StillUnknown
