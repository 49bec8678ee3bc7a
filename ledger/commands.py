"""What a client asks for, validated in form and not yet decided.

A command carries its own operation id: it is given when the request comes in, and belongs to the
API, not to the side that decides.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from ledger.identifiers import uuid7


class Unset(Enum):
    """The one value that says "left out", where None says "never"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    client_id: int
    idempotency_key: str
    operation_id: UUID = field(default_factory=uuid7)
    #: The person behind a back-office operation.
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earn(_Command):
    """Grant `points` (1 to 1,000,000,000). `expires_at` left out follows the reason's policy."""

    account_number: str
    points: int
    reason: str
    reference: str | None = None
    expires_at: datetime | Unset | None = UNSET
    occurred_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend(_Command):
    account_number: str
    points: int
    reason: str
    reference: str | None = None
    occurred_at: datetime | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(_Command):
    """Cancel an earn or a spend; all that is left of it when `points` is None."""

    cancelled_operation_id: UUID
    points: int | None = None
    reason: str | None = None
    reference: str | None = None
    #: The scope `operations:any`: another client's operation may be cancelled.
    any_client: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(_Command):
    from_account_number: str
    to_account_number: str
    points: int
    reason: str
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjust(_Command):
    """Correct by hand: positive `points` become a lot, negative ones are taken like a spend."""

    account_number: str
    points: int
    reason: str
    reference: str | None = None
    expires_at: datetime | Unset | None = UNSET
    metadata: Mapping[str, Any] | None = None


Command: TypeAlias = Earn | Spend | Cancel | Transfer | Adjust
