"""What a command asks of the legacy, resolved: the rules that hold at the door whoever decides behind it, and
what the adapter declares that its legacy cannot do."""

from datetime import datetime
from typing import Any

from cutover.situation import CancelTarget, Situation, read
from ledger import clock, policies
from ledger.clients import may_see
from ledger.commands import UNSET, Cancel, Command, Earn, Spend, Transfer
from ledger.errors import (
    AccountBlocked,
    NotAvailableInStage,
    NotCancellable,
    OperationNotFound,
    Refusal,
)
from ledger.operations.elsewhere import Undecided, guessed_kind
from ledger.rules import DEFAULT_CANCEL_REASON, check_occurred_at, expiry_of, points_to_cancel
from legacy_bridge import configured
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.records import (
    BY_LEGACY,
    ByLegacy,
    CancelRequest,
    EarnRequest,
    Request,
    SpendRequest,
)


def resolve(
    command: Command, situation: Situation, *, judged_at: datetime | None
) -> tuple[Undecided, Request | Refusal]:
    """What to note and what to ask for, or the outcome where it needs no legacy. Raises the refusals that
    are never kept."""
    now = clock.now()
    match command:
        case Earn() | Spend():
            return _resolve_entry(command, situation, now=now, judged_at=judged_at or now)
        case Cancel():
            return _resolve_cancel(command, situation, now=now)
        case _:
            what = "gifts" if isinstance(command, Transfer) else "adjustments"
            raise NotAvailableInStage(f"The point system that decides now does not know {what}.")


def _resolve_entry(
    command: Earn | Spend, situation: Situation, *, now: datetime, judged_at: datetime
) -> tuple[Undecided, Request | Refusal]:
    kind = guessed_kind(command, target_kind=None)
    policy = policies.current().reason_for(code=command.reason, kind=kind)
    check_occurred_at(command.occurred_at, now=judged_at)
    common: dict[str, Any] = {
        "operation_id": command.operation_id,
        "account_number": command.account_number,
        "points": command.points,
        "reason": command.reason,
        "reference": command.reference,
    }
    request: Request | Refusal
    if situation.account_status not in (None, "open"):
        request = AccountBlocked(f"The account is {situation.account_status}.")
    elif isinstance(command, Earn):
        request = EarnRequest(**common, expires_at=_expiry(command, policy=policy, now=judged_at))
    else:
        request = SpendRequest(**common)
    undecided = Undecided(
        command=command,
        kind=kind,
        account_number=command.account_number,
        points=command.points,
        reason_id=policy.reason_id,
        stage=situation.route.stage.value,
        epoch=situation.route.epoch,
        now=now,
    )
    return undecided, request


def _expiry(command: Earn, *, policy: Any, now: datetime) -> datetime | ByLegacy | None:
    """When the points lapse. By the reason's policy where the legacy takes it, else as the legacy decides."""
    expires_at = expiry_of(command, policy=policy, now=now)
    if configured.adapter().takes_expires_at:
        return expires_at
    if command.expires_at is UNSET:
        return BY_LEGACY
    raise NotAvailableInStage("The point system that decides now sets expiry by itself.")


def _resolve_cancel(
    command: Cancel, situation: Situation, *, now: datetime
) -> tuple[Undecided, Request | Refusal]:
    target = situation.target
    if target is None or not may_see(
        owner_id=target.client_id, client_id=command.client_id, any_client=command.any_client
    ):
        raise OperationNotFound("There is no such operation.")
    kind = guessed_kind(command, target_kind=target.kind)
    reason = command.reason or DEFAULT_CANCEL_REASON
    policy = policies.current().reason_for(code=reason, kind=kind)
    points = command.points or 0
    refusal: Refusal | None = None
    try:
        points = points_to_cancel(command, target)
    except NotCancellable as not_cancellable:
        refusal = not_cancellable
    if refusal is None and situation.account_status == "closed":
        refusal = AccountBlocked("The account is closed.")
    undecided = Undecided(
        command=command,
        kind=kind,
        account_number=target.account_number,
        points=points,
        reason_id=policy.reason_id,
        stage=situation.route.stage.value,
        epoch=situation.route.epoch,
        now=now,
        cancels_id=target.id,
    )
    if refusal is not None:
        return undecided, refusal
    return undecided, _cancel_request(command, target, points=points, reason=reason)


def check_representable(command: Earn | Spend | Cancel) -> None:
    """Refuse now what the legacy has no form for: it must not be accepted, nor decided by the ledger while
    the legacy follows. A key that is known already has its outcome. Raises NotAvailableInStage and
    ValidationRefused."""
    situation = read(command)
    if situation.known is not None or situation.route.is_finished:
        return
    if isinstance(command, Earn):
        policies.current().reason_for(code=command.reason, kind="earn")
    refusal = _without_form(command)
    if refusal is not None:
        raise refusal
    target = situation.target
    if isinstance(command, Cancel) and target is not None and target.kind in ("earn", "spend"):
        points = command.points or target.points
        # More than the whole is no part: it is not cancellable, and whoever decides says so.
        _check_cancel(configured.adapter(), kind=target.kind, is_part=points < target.points)


def has_form(command: Command) -> bool:
    """Whether the legacy can be told of `command`, as far as that is known without asking anybody."""
    if isinstance(command, Cancel):
        return _takes_every_cancel(configured.adapter()) and _without_form(command) is None
    return isinstance(command, Earn | Spend) and _without_form(command) is None


def _takes_every_cancel(adapter: LegacyAdapter) -> bool:
    return {Feature.CANCEL_SPEND, Feature.CANCEL_EARN, Feature.CANCEL_PART} <= adapter.features


def _without_form(command: Earn | Spend | Cancel) -> NotAvailableInStage | None:
    """What is refused of `command` by itself, or None."""
    adapter = configured.adapter()
    number = "" if isinstance(command, Cancel) else command.account_number
    try:
        adapter.check_form(account_number=number, reference=command.reference)
    except NotRepresentable:
        return NotAvailableInStage("The point systems cannot both keep this.")
    if isinstance(command, Earn) and command.expires_at is not UNSET and not adapter.takes_expires_at:
        return NotAvailableInStage("The point system that decides now sets expiry by itself.")
    reason = command.reason
    # A reason that nobody knows is for whoever decides to refuse.
    is_ours = reason is not None and reason in policies.current().reasons
    if is_ours and adapter.reason_codes and reason not in adapter.reason_codes:
        return NotAvailableInStage("The point system that decides now does not know this reason.")
    return None


def _check_cancel(adapter: LegacyAdapter, *, kind: str, is_part: bool) -> None:
    feature = Feature.CANCEL_SPEND if kind == "spend" else Feature.CANCEL_EARN
    if feature not in adapter.features or (is_part and Feature.CANCEL_PART not in adapter.features):
        raise NotAvailableInStage("The point system that decides now cannot cancel this.")


def _cancel_request(command: Cancel, target: CancelTarget, *, points: int, reason: str) -> CancelRequest:
    _check_cancel(configured.adapter(), kind=target.kind, is_part=points != target.points)
    if target.counterpart_id is None:
        raise NotAvailableInStage("The point system that decides now does not know this operation.")
    return CancelRequest(
        operation_id=command.operation_id,
        account_number=target.account_number,
        points=points,
        reason=reason,
        reference=command.reference,
        is_of_spend=target.kind == "spend",
        cancelled_row_id=target.counterpart_id,
        cancelled_points=target.points,
        already_cancelled_points=target.cancelled_points,
    )
