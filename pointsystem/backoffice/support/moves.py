"""What a form of the desk asks for, and the command that it becomes.

A grant is an earn and a deduction is a spend, with the operator's reason, in every stage: so both mean the
same on either side of the cutover, and can be cancelled like any other. They belong to the built-in client of
the back office, and name the person.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from ledger.commands import UNSET, Cancel, Command, Earn, Spend, Transfer
from ledger.models import BACK_OFFICE_CLIENT, AccountStatus, Client
from pointsystem.backoffice.support.models import MoveKind

#: Expiry of a grant that the reason's policy decides.
BY_POLICY: Final = "by policy"
NEVER: Final = "never"

STATUS_OF: Final = {
    MoveKind.BLOCK: AccountStatus.BLOCKED,
    MoveKind.UNBLOCK: AccountStatus.OPEN,
    MoveKind.CLOSE: AccountStatus.CLOSED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """The values of a form, valid in form. `key` was made when the form was shown."""

    kind: MoveKind
    key: UUID
    account_number: str
    #: None where no points are moved (block, unblock, close).
    points: int | None = None
    reason: str | None = None
    reference: str | None = None
    note: str = ""
    to_account_number: str | None = None
    cancelled_operation_id: UUID | None = None
    #: BY_POLICY, NEVER, or an instant with its offset.
    expires_at: str = BY_POLICY

    def to_json(self) -> dict[str, Any]:
        """What is kept of the form; `from_json` gives an equal move back."""
        values = asdict(self)
        return {
            **values,
            "kind": self.kind.value,
            "key": str(self.key),
            "cancelled_operation_id": str(self.cancelled_operation_id)
            if self.cancelled_operation_id
            else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Move":
        cancelled = values["cancelled_operation_id"]
        return cls(
            **{
                **values,
                "kind": MoveKind(values["kind"]),
                "key": UUID(values["key"]),
                "cancelled_operation_id": UUID(cancelled) if cancelled else None,
            }
        )


@cache
def client_id() -> int:
    """The built-in client that operations of the back office belong to. A migration made it."""
    return Client.objects.get(name=BACK_OFFICE_CLIENT).id


def command_of(move: Move, *, actor: str) -> Command:
    """What the deciding side is asked for. Raises ValueError for a move that moves no points."""
    common: dict[str, Any] = {
        "client_id": client_id(),
        "idempotency_key": str(move.key),
        "actor": actor,
        "reason": move.reason,
        "reference": move.reference,
    }
    match move.kind:
        case MoveKind.GRANT:
            return Earn(
                **common,
                account_number=move.account_number,
                points=_points(move),
                expires_at=_expiry(move.expires_at),
            )
        case MoveKind.DEDUCT:
            return Spend(**common, account_number=move.account_number, points=_points(move))
        case MoveKind.TRANSFER:
            return Transfer(
                **common,
                from_account_number=move.account_number,
                to_account_number=move.to_account_number or "",
                points=_points(move),
            )
        case MoveKind.CANCEL:
            if move.cancelled_operation_id is None:
                raise ValueError("a cancel names no operation")
            return Cancel(
                **common,
                cancelled_operation_id=move.cancelled_operation_id,
                points=_points(move),
                any_client=True,
            )
    raise ValueError(f"{move.kind} moves no points")


def _points(move: Move) -> int:
    if move.points is None:
        raise ValueError(f"{move.kind} without points")
    return move.points


def _expiry(text: str) -> Any:
    if text == BY_POLICY:
        return UNSET
    return None if text == NEVER else datetime.fromisoformat(text)


def needs_second_person(move: Move) -> bool:
    return move.points is not None and move.points > settings.POINTS_APPROVAL_LIMIT
