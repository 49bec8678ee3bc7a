"""Operations while the legacy decides: key, rule, note, call, end; in this order.

Nothing of the ledger's own domain runs here: the key, the account's status and the list of reasons are
looked at, the rest is the legacy's decision. Three commits, of which only the middle one is the legacy's
(docs/adr/0021-giving-an-operation-to-the-legacy.md).
"""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final, NoReturn
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, IntegrityError

from cutover import intents, lots, resolving
from cutover.intents import FIRST_ATTEMPT
from cutover.refusals import refusal_of
from cutover.situation import Situation, read
from ledger import crash_points, queries
from ledger.commands import Command
from ledger.database import raise_refusal, violated_constraint
from ledger.errors import (
    AccountBusy,
    AccountHeld,
    IdempotencyKeyReused,
    NotAvailableInStage,
    OperationInProgress,
    OutcomeUnknown,
    PrimaryUnavailable,
    Refusal,
    SpendingFrozen,
    from_json,
)
from ledger.idempotency import fingerprint
from ledger.operations.elsewhere import Undecided
from ledger.records import LotShare, OperationRecord, Outcome
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter, Settling
from legacy_bridge.records import (
    CancelRequest,
    Decision,
    Request,
)

log = structlog.get_logger(__name__)

_OPEN_INTENT: Final = "intent_one_open_per_account"
_KEY_TAKEN: Final = "operation_key_is_unique_per_client"
_READ_ANEW: Final = (
    _OPEN_INTENT,
    _KEY_TAKEN,
    "intent_sequence_is_unique_per_account",
    # Another drainer of the inbox has done it since.
    "cutover_intent_operation_id_key",
)
_CHANGED: Final = ("route_is_as_read", "cancelled_is_as_read")


class LegacyDoesNotDecide(Exception):
    """The route changed since it was read: whoever decides now must be asked."""


class Later(Exception):
    """Nothing can be decided on this account now. A spend is told `refusal`; what may wait is accepted."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class InboxFirst(Exception):
    """Something that was accepted earlier on this account must be done first."""

    def __init__(self, account_number: str) -> None:
        super().__init__(account_number)
        self.account_number = account_number


def frozen() -> Refusal:
    """What a spend is told in a freeze."""
    return SpendingFrozen("Spending is stopped for a short while.")


def held() -> Refusal:
    """What a spend is told on an account that waits at a switch."""
    return AccountHeld("The account waits for what was decided before.")


def execute(command: Command, *, accepted_at: datetime | None = None) -> Outcome:
    """Have the legacy decide `command`, once for its key.

    `accepted_at` is set while the inbox is drained: the operation exists already, as accepted.

    Raises what `ledger.operations.execute` raises, and PrimaryUnavailable (nothing was done),
    OutcomeUnknown (it may have been done, and is being found out), NotAvailableInStage;
    LegacyDoesNotDecide, Later and InboxFirst.
    """
    give_up_at = time.monotonic() + settings.POINTS_LOCK_TIMEOUT_SECONDS
    pause_seconds = 0.002
    while True:
        situation = read(command)
        if situation.known is not None and (accepted_at is None or situation.known.state != "accepted"):
            replayed = _replay(command, situation)
            if replayed is not None:
                return replayed
            waited_for: Refusal = OperationInProgress("An operation with this key is still being run.")
        else:
            outcome = _attempt(command, situation, accepted_at=accepted_at)
            if outcome is not None:
                return outcome
            waited_for = AccountBusy("Another operation on this account is still being run.")
        left_seconds = give_up_at - time.monotonic()
        if left_seconds <= 0:
            raise waited_for
        time.sleep(min(pause_seconds * random.uniform(0.5, 1.5), left_seconds))
        pause_seconds = min(pause_seconds * 2, 0.1)


def _replay(command: Command, situation: Situation) -> Outcome | None:
    """The first outcome of the key, or None while it has none yet. Raises the stored refusal."""
    known = situation.known
    assert known is not None  # noqa: S101
    if known.fingerprint != fingerprint(command):
        raise IdempotencyKeyReused("This key was used with another request.")
    if known.state in ("pending", "in_doubt"):
        return None
    record = queries.first_outcomes([known.id])[known.id]
    if record.refusal is not None:
        refusal = from_json(record.refusal)
        refusal.operation_id, refusal.is_replayed = known.id, True
        raise refusal
    return Outcome(operation=record, is_replayed=True)


def _attempt(command: Command, situation: Situation, *, accepted_at: datetime | None) -> Outcome | None:
    """Check, note, call and end; None when another operation of the account has to end first."""
    if not situation.route.legacy_decides:
        raise LegacyDoesNotDecide
    if situation.route.is_frozen:
        raise Later(frozen())
    if situation.is_held:
        raise Later(held())
    undecided, request = resolving.resolve(command, situation, judged_at=accepted_at)
    if situation.has_inbox and accepted_at is None:
        raise InboxFirst(undecided.account_number)
    if isinstance(request, Refusal):
        with suppress(intents.TakenOver):
            _refuse_here(undecided, request, is_accepted=accepted_at is not None)
        return None
    is_noted = False
    try:
        with sessions.session() as session:
            adapter = configured.adapter()
            bookmark = giving.bookmark(adapter, session, account_number=undecided.account_number)
            try:
                intents.open_intent(
                    undecided,
                    request,
                    route=situation.route,
                    session=session.identity,
                    bookmark=bookmark,
                    is_accepted=accepted_at is not None,
                )
            except IntegrityError as error:
                name = violated_constraint(error)
                if name in _READ_ANEW or name in _CHANGED:
                    return None
                raise
            is_noted = True
            crash_points.reach("legacy.intent_open")
            return _give(adapter, session, undecided, request)
    except intents.TakenOver:
        ended = read(command)
        return None if ended.known is None else _replay(command, ended)
    except errors.NotRepresentable as error:
        raise NotAvailableInStage("The point system that decides now cannot do this.") from error
    except errors.OutcomeUnknown as error:
        if is_noted:
            _leave_to_recoverer(request, error)
        _refuse_unavailable(error)
    except errors.NotDone as error:
        _refuse_unavailable(error)
    except DatabaseError as error:
        raise_refusal(error)


def _refuse_unavailable(error: errors.LegacyError) -> NoReturn:
    log.warning("legacy_unavailable", error=str(error))
    raise PrimaryUnavailable("The point system that decides now does not answer.") from error


def _refuse_here(undecided: Undecided, refusal: Refusal, *, is_accepted: bool) -> None:
    """Keep a refusal that needs no legacy; the key gives it again. Raises it; returns when the key was
    taken meanwhile."""
    operation_id = undecided.command.operation_id
    try:
        intents.note_refused(undecided, refusal=refusal.to_json(), is_accepted=is_accepted)
    except IntegrityError as error:
        if violated_constraint(error) == _KEY_TAKEN:
            return
        raise
    refusal.operation_id = operation_id
    raise refusal


def _give(
    adapter: LegacyAdapter, session: sessions.Session, undecided: Undecided, request: Request
) -> Outcome:
    """Call the legacy for an intent that is open, and end it. Raises what became of it, and TakenOver.

    What is unknown leaves here as the bridge's own error, so that its connection is closed: the recoverer
    ends the session, and nobody else's call must be under way on it then.
    """
    operation_id = request.operation_id
    try:
        decision = giving.give(adapter, session, request)
        crash_points.reach("legacy.decided")
        ids = lots.ids_of([share.lot_id for share in decision.shares or ()])
        intents.complete(
            operation_id=operation_id,
            decision=decision,
            by="call",
            attempt=FIRST_ATTEMPT,
            # What the legacy can surely be asked for again need not wait for our disk.
            is_durable=adapter.settling is Settling.BY_NEW_ROW,
            lot_ids=ids,
        )
    except errors.Refused as refused:
        refusal = refusal_of(refused)
        with _unknown_unless_kept():
            intents.refuse(
                operation_id=operation_id, refusal=refusal.to_json(), by="call", attempt=FIRST_ATTEMPT
            )
        refusal.operation_id = operation_id
        raise refusal from refused
    except (errors.NotRepresentable, errors.NotDone) as error:
        with _unknown_unless_kept():
            intents.forget(operation_id=operation_id, attempt=FIRST_ATTEMPT)
        if isinstance(error, errors.Busy):
            raise AccountBusy("The account is being worked on.") from error
        raise
    except DatabaseError as error:
        raise errors.OutcomeUnknown(f"The outcome was not kept: {error}") from error
    crash_points.reach("legacy.outcome_kept")
    return Outcome(operation=_record(undecided, request, decision, lot_ids=ids))


def _record(
    undecided: Undecided, request: Request, decision: Decision, *, lot_ids: Mapping[str, UUID]
) -> OperationRecord:
    """What `queries.first_outcomes` reads of the operation, without asking: it was written a moment ago."""
    command = undecided.command
    shares = decision.shares
    return OperationRecord(
        id=request.operation_id,
        kind=undecided.kind,
        state="completed",
        account_number=undecided.account_number,
        points=undecided.points,
        reason=request.reason,
        reference=request.reference,
        occurred_at=getattr(command, "occurred_at", None),
        recorded_at=decision.recorded_at,
        cancels=undecided.cancels_id,
        cancellable_points=0 if isinstance(request, CancelRequest) else undecided.points,
        balance_after=decision.balance_after,
        lots=None
        if shares is None
        else [
            LotShare(lot=lot_ids[share.lot_id], points=share.points, expires_at=share.expires_at)
            for share in shares
        ],
        metadata=getattr(command, "metadata", None),
    )


@contextmanager
def _unknown_unless_kept() -> Iterator[None]:
    """What our own database does not take is found out again by the recoverer."""
    try:
        yield
    except DatabaseError as error:
        raise errors.OutcomeUnknown(f"The outcome was not kept: {error}") from error


def _leave_to_recoverer(request: Request, error: Exception) -> NoReturn:
    """Raises OutcomeUnknown, which names the operation."""
    operation_id = request.operation_id
    log.warning("legacy_outcome_unknown", operation_id=str(operation_id), error=str(error))
    try:
        intents.release(operation_id=operation_id, error=str(error), attempt=FIRST_ATTEMPT)
    except DatabaseError:
        # The lease ends by itself.
        log.warning("intent_not_released", operation_id=str(operation_id))
    refusal = OutcomeUnknown("The point system that decides now did not answer. It is being found out.")
    refusal.operation_id = operation_id
    raise refusal from error
