"""What clients send. These structs are the one definition: they validate, and they are the schema."""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledger import commands
from ledger.commands import Cancel, Earn, Spend, Transfer
from pointsystem.api.fields import (
    AccountNumber,
    Cursor,
    IdempotencyKey,
    Instant,
    LotState,
    Metadata,
    OperationId,
    PageSize,
    Points,
    ReasonCode,
    Reference,
)

MOST_BATCH_ITEMS = 1000


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A JSON object of a request: unknown members are refused."""


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The query of a request: unknown parameters are refused."""


# --- Bodies ---------------------------------------------------------------------------------------------
class EarnRequest(Body, kw_only=True):
    """`expires_at` left out follows the reason's policy; null means never."""

    points: Points
    reason: ReasonCode
    reference: Reference | None = None
    expires_at: Instant | UnsetType | None = UNSET
    occurred_at: Instant | None = None
    metadata: Metadata | None = None

    def command(self, *, account_number: str, client_id: int, key: str, operation_id: UUID) -> Earn:
        return Earn(
            client_id=client_id,
            idempotency_key=key,
            operation_id=operation_id,
            account_number=account_number,
            points=self.points,
            reason=self.reason,
            reference=self.reference,
            expires_at=commands.UNSET if isinstance(self.expires_at, UnsetType) else self.expires_at,
            occurred_at=self.occurred_at,
            metadata=self.metadata,
        )


class SpendRequest(Body, kw_only=True):
    points: Points
    reason: ReasonCode
    reference: Reference | None = None
    occurred_at: Instant | None = None
    metadata: Metadata | None = None

    def command(self, *, account_number: str, client_id: int, key: str, operation_id: UUID) -> Spend:
        return Spend(
            client_id=client_id,
            idempotency_key=key,
            operation_id=operation_id,
            account_number=account_number,
            points=self.points,
            reason=self.reason,
            reference=self.reference,
            occurred_at=self.occurred_at,
            metadata=self.metadata,
        )


class CancelRequest(Body, kw_only=True):
    """All that is left is cancelled when `points` is left out. A null there is refused: it is more
    likely a mistake of the caller than the wish to cancel everything."""

    points: Points | UnsetType = UNSET
    reason: ReasonCode | None = None
    reference: Reference | None = None

    def command(
        self, *, cancelled_operation_id: UUID, client_id: int, key: str, operation_id: UUID, any_client: bool
    ) -> Cancel:
        return Cancel(
            client_id=client_id,
            idempotency_key=key,
            operation_id=operation_id,
            cancelled_operation_id=cancelled_operation_id,
            points=None if isinstance(self.points, UnsetType) else self.points,
            reason=self.reason,
            reference=self.reference,
            any_client=any_client,
        )


class TransferRequest(Body, kw_only=True):
    from_account_number: AccountNumber = msgspec.field(name="from")
    to_account_number: AccountNumber = msgspec.field(name="to")
    points: Points
    reason: ReasonCode
    reference: Reference | None = None

    def command(self, *, client_id: int, key: str, operation_id: UUID) -> Transfer:
        return Transfer(
            client_id=client_id,
            idempotency_key=key,
            operation_id=operation_id,
            from_account_number=self.from_account_number,
            to_account_number=self.to_account_number,
            points=self.points,
            reason=self.reason,
            reference=self.reference,
        )


class SpendPreviewRequest(Body, kw_only=True):
    """The body of a spend may be sent as it is; only `points` is looked at."""

    points: Points
    reason: ReasonCode | None = None
    reference: Reference | None = None
    occurred_at: Instant | None = None
    metadata: Metadata | None = None


# --- Batches --------------------------------------------------------------------------------------------
class EarnItem(EarnRequest, kw_only=True):
    kind: Literal["earn"]
    idempotency_key: IdempotencyKey
    account_number: AccountNumber


class SpendItem(SpendRequest, kw_only=True):
    kind: Literal["spend"]
    idempotency_key: IdempotencyKey
    account_number: AccountNumber


class CancelItem(CancelRequest, kw_only=True):
    kind: Literal["cancel"]
    idempotency_key: IdempotencyKey
    operation_id: OperationId


class TransferItem(TransferRequest, kw_only=True):
    kind: Literal["transfer"]
    idempotency_key: IdempotencyKey


BatchItem: TypeAlias = EarnItem | SpendItem | CancelItem | TransferItem
BATCH_ITEMS: dict[str, type[BatchItem]] = {
    "earn": EarnItem,
    "spend": SpendItem,
    "cancel": CancelItem,
    "transfer": TransferItem,
}


class BatchRequest(Body, kw_only=True):
    """Items are judged one by one: what is wrong with one is the problem of that one."""

    operations: Annotated[
        list[Any],
        Meta(
            min_length=1,
            max_length=MOST_BATCH_ITEMS,
            extra_json_schema={
                "items": {
                    "oneOf": [
                        {"$ref": f"#/components/schemas/{item.__name__}"} for item in BATCH_ITEMS.values()
                    ]
                }
            },
        ),
    ]


# --- Queries --------------------------------------------------------------------------------------------
class BalanceParameters(Parameters, kw_only=True):
    as_of: Instant | UnsetType = UNSET


class _PageParameters(Parameters, kw_only=True):
    cursor: Cursor | UnsetType = UNSET
    page_size: PageSize | UnsetType = UNSET


class LotsParameters(_PageParameters, kw_only=True):
    state: LotState = "live"


class HistoryParameters(_PageParameters, kw_only=True):
    pass


class OperationsParameters(_PageParameters, kw_only=True):
    reference: Reference


Given = TypeVar("Given")
Default = TypeVar("Default")


def given(value: Given | UnsetType, default: Default) -> Given | Default:
    """What the caller gave, or `default`."""
    return default if isinstance(value, UnsetType) else value
