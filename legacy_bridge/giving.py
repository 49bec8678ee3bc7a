"""Giving one operation to the legacy, in a way that its outcome can always be found out.

docs/adr/0021-giving-an-operation-to-the-legacy.md tells why there are three ways.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from legacy_bridge import marker
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.errors import (
    AnswerInvalid,
    LegacyError,
    NotDone,
    NotRepresentable,
    OutcomeUnknown,
    Refused,
)
from legacy_bridge.records import (
    Applied,
    CancelRequest,
    Decision,
    EarnRequest,
    HistoryRow,
    NotApplied,
    Request,
    RowKind,
    Settled,
    SpendRequest,
    StillUnknown,
)
from legacy_bridge.sessions import Session

#: A legacy's clock may go wrong; what it says is only refused where it cannot be meant.
_CLOCK_MAY_BE_OFF: Final = timedelta(days=2)
_NEW_ROWS_LOOKED_AT: Final = 1000


def bookmark(adapter: LegacyAdapter, session: Session, *, account_number: str) -> str | None:
    """What must be known of the account before the call, to settle it afterwards."""
    if adapter.settling is not Settling.BY_NEW_ROW:
        return None
    return adapter.last_row_id(session, account_number=account_number)


def give(adapter: LegacyAdapter, session: Session, request: Request) -> Decision:
    """Call the procedure once.

    Raises Refused (nothing changed), NotRepresentable and NotDone (nothing changed, for certain), and
    OutcomeUnknown for everything else, an answer that cannot be true among it.
    """
    _check_features(adapter, request)
    try:
        if adapter.commits_itself:
            return _checked(_call(adapter, session, request), request)
        if adapter.settling is Settling.BY_MARKER:
            return _with_marker(adapter, session, request)
        if session.dialect.is_one_statement_atomic:
            return _checked(_call(adapter, session, request), request)
        with session.transaction():
            return _checked(_call(adapter, session, request), request)
    except (Refused, NotRepresentable):
        raise
    except AnswerInvalid as error:
        raise OutcomeUnknown(f"The legacy's answer cannot be true: {error}") from error
    except NotDone as error:
        if adapter.commits_itself and _went_out(error):
            raise OutcomeUnknown(f"The procedure commits by itself, and failed: {error}") from error
        raise


def _went_out(error: NotDone) -> bool:
    """An error that the server answered with, after the procedure had begun."""
    return error.__cause__ is not None


def _with_marker(adapter: LegacyAdapter, session: Session, request: Request) -> Decision:
    with session.transaction():
        try:
            decision = _checked(_call(adapter, session, request), request)
        except AnswerInvalid as error:
            # It is rolled back: what cannot be understood must not be done.
            raise NotDone(f"The legacy's answer cannot be true: {error}") from error
        marker.put(session, operation_id=request.operation_id, decision=decision)
    return decision


def _call(adapter: LegacyAdapter, session: Session, request: Request) -> Decision:
    try:
        match request:
            case EarnRequest():
                return adapter.earn(session, request)
            case SpendRequest():
                return adapter.spend(session, request)
            case CancelRequest():
                return adapter.cancel(session, request)
    except LegacyError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        # An adapter that stumbles over an answer: whatever it was, it was not what was agreed.
        raise AnswerInvalid(f"{type(error).__name__}: {error}") from error


def _check_features(adapter: LegacyAdapter, request: Request) -> None:
    """Raises NotRepresentable for what the adapter does not declare."""
    needed: list[Feature] = []
    match request:
        case EarnRequest():
            needed.append(Feature.EARN)
        case SpendRequest():
            needed.append(Feature.SPEND)
        case CancelRequest():
            needed.append(Feature.CANCEL_SPEND if request.is_of_spend else Feature.CANCEL_EARN)
            if request.points != request.cancelled_points:
                needed.append(Feature.CANCEL_PART)
    for feature in needed:
        if feature not in adapter.features:
            raise NotRepresentable(f"The legacy does not do this: {feature.value}.")


def _checked(decision: Decision, request: Request) -> Decision:
    """An answer is input like any other. Raises AnswerInvalid."""
    if type(decision) is not Decision:
        raise AnswerInvalid(f"{type(decision).__name__} where a decision should be")
    if type(decision.points) is not int or decision.points != request.points:
        raise AnswerInvalid(f"{decision.points!r} points where {request.points} were asked for")
    balance = decision.balance_after
    if balance is not None and (type(balance) is not int or balance < 0):
        raise AnswerInvalid(f"a balance of {balance!r}")
    check_moment(decision.recorded_at)
    if decision.row_id is not None and not decision.row_id:
        raise AnswerInvalid("an empty row id")
    if decision.shares is not None:
        if any(type(share.points) is not int or share.points < 1 for share in decision.shares):
            raise AnswerInvalid("a share that is not positive")
        if sum(share.points for share in decision.shares) != decision.points:
            raise AnswerInvalid("shares that do not add up to the points")
    return decision


def check_moment(moment: datetime) -> None:
    """Raises AnswerInvalid for a moment without a zone, or one that is still to come."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise AnswerInvalid(f"{moment!r} where a moment should be")
    if moment > datetime.now(UTC) + _CLOCK_MAY_BE_OFF:
        raise AnswerInvalid(f"{moment.isoformat()}, which is still to come")


# --- settling -------------------------------------------------------------------------------------------
def settle(
    adapter: LegacyAdapter,
    session: Session,
    request: Request,
    *,
    known_row_id: str | None,
    old_session: str,
) -> Settled:
    """Find out what became of a call whose answer was lost.

    `known_row_id` is the bookmark from before the call, `old_session` the session that made it: absence
    counts only once that session is gone. Raises NotDone or OutcomeUnknown when the legacy cannot be asked.
    """
    is_gone = old_session == session.identity or session.dialect.end(session.query, old_session)
    try:
        found = _find(adapter, session, request, known_row_id=known_row_id)
    except AnswerInvalid as error:
        return StillUnknown(why=f"The legacy's answer cannot be true: {error}", is_final=True)
    if isinstance(found, NotApplied) and not is_gone:
        return StillUnknown(why="The session that made the call is still there.")
    return found


def _find(adapter: LegacyAdapter, session: Session, request: Request, *, known_row_id: str | None) -> Settled:
    match adapter.settling:
        case Settling.BY_ID:
            decision = adapter.find_by_operation_id(
                session, operation_id=request.operation_id, account_number=request.account_number
            )
        case Settling.BY_MARKER:
            decision = marker.find(session, operation_id=request.operation_id)
        case Settling.BY_NEW_ROW:
            return _find_new_row(adapter, session, request, known_row_id=known_row_id)
    return NotApplied() if decision is None else Applied(decision=_checked(decision, request))


def _find_new_row(
    adapter: LegacyAdapter, session: Session, request: Request, *, known_row_id: str | None
) -> Settled:
    rows = adapter.rows_after(
        session,
        row_id=known_row_id,
        limit=_NEW_ROWS_LOOKED_AT,
        account_number=request.account_number,
    )
    matching = [row for row in rows if _is_of(row, request)]
    if not matching:
        if len(rows) >= _NEW_ROWS_LOOKED_AT:
            return StillUnknown(why="Too many rows came since to be sure.", is_final=True)
        return NotApplied()
    if len(matching) > 1:
        return StillUnknown(
            why=f"{len(matching)} new rows could be this operation.",
            is_final=True,
            evidence={"row_ids": [row.row_id for row in matching]},
        )
    row = matching[0]
    decision = Decision(
        row_id=row.row_id,
        points=abs(row.points),
        recorded_at=row.recorded_at,
        balance_after=row.balance_after,
        shares=row.shares,
    )
    return Applied(decision=_checked(decision, request))


def _is_of(row: HistoryRow, request: Request) -> bool:
    """Whether a row of the legacy can be this operation: all that both sides tell is equal."""
    match request:
        case EarnRequest():
            kind = RowKind.EARN
        case SpendRequest():
            kind = RowKind.SPEND
        case CancelRequest():
            kind = RowKind.SPEND_CANCEL if request.is_of_spend else RowKind.EARN_CANCEL
            if row.cancels_row_id is not None and row.cancels_row_id != request.cancelled_row_id:
                return False
    if row.kind is not kind or abs(row.points) != request.points:
        return False
    return row.reference is None or request.reference is None or row.reference == request.reference
