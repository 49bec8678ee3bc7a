"""Giving one operation to the legacy, in a way that its outcome can always be found out.

docs/adr/0021-giving-an-operation-to-the-legacy.md tells why there are three ways.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from legacy_bridge import marker
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import (
    AnswerInvalid,
    LegacyError,
    NotDone,
    NotRepresentable,
    OutcomeUnknown,
)
from legacy_bridge.records import (
    BY_LEGACY,
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

log = structlog.get_logger(__name__)

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
    OutcomeUnknown for everything else. An answer that cannot be true is NotDone where the bridge's own
    transaction took it back, and OutcomeUnknown where it may have been kept.

    Within `together` it joins the others, and what it returns is done when that block has ended.
    """
    _check_features(adapter, request)
    if session.is_in_transaction:
        return _in_transaction(adapter, session, request)
    is_by_marker = adapter.settling is Settling.BY_MARKER
    is_whole_by_itself = session.dialect.is_one_statement_atomic and not is_by_marker
    if not adapter.commits_itself and not is_whole_by_itself:
        return _in_transaction(adapter, session, request)
    answered_before = session.answered
    try:
        return _call(adapter, session, request)
    except AnswerInvalid as error:
        raise OutcomeUnknown(f"The legacy's answer cannot be true: {error}") from error
    except NotDone as error:
        # What an adapter ran before the statement that failed was committed, outside of a transaction.
        may_be_kept = adapter.commits_itself or session.answered > answered_before
        if may_be_kept and error.__cause__ is not None:
            raise OutcomeUnknown(
                f"What the procedure did may have been kept, and it failed: {error}"
            ) from error
        raise


def may_be_together(adapter: LegacyAdapter, session: Session) -> bool:
    """Whether some calls can be one transaction, and each be found out by itself when its COMMIT was not
    answered."""
    if adapter.commits_itself or adapter.settling is Settling.BY_NEW_ROW:
        return False
    return adapter.may_be_called_together and session.dialect.keeps_transactions_whole


@contextmanager
def together(session: Session) -> Iterator[None]:
    """Commit what is given (`give`) within the block as one: all of it, or nothing.

    Whatever is raised but OutcomeUnknown, nothing of it was done, for certain, and each may be given by
    itself. OutcomeUnknown is of the COMMIT: of every call in the block it must be found out what became of
    it. Locks are kept to the end of the block, and so no lock is waited for as long as alone. Give in one
    order of accounts, always the same, and only what `may_be_together`.
    """
    with session.transaction():
        for statement in session.dialect.hurry:
            session.query(statement)
        yield


def _in_transaction(adapter: LegacyAdapter, session: Session, request: Request) -> Decision:
    with session.transaction():
        try:
            decision = _call(adapter, session, request)
        except AnswerInvalid as error:
            # It is rolled back: what cannot be understood must not be done.
            fate = OutcomeUnknown if session.was_committed_inside else NotDone
            raise fate(f"The legacy's answer cannot be true: {error}") from error
        if adapter.settling is Settling.BY_MARKER:
            marker.put(session, operation_id=request.operation_id, decision=decision)
    if session.was_committed_inside:
        # It was done, and is found when it is settled. But had its answer been lost, it would have been
        # taken for undone: an adapter like this must not pass its first test.
        raise OutcomeUnknown("The procedure committed by itself, which its adapter denies.")
    return decision


def _call(adapter: LegacyAdapter, session: Session, request: Request) -> Decision:
    """Call the adapter, and check what it says. Raises AnswerInvalid for whatever it stumbles over."""
    try:
        match request:
            case EarnRequest():
                return _checked(adapter.earn(session, request), request)
            case SpendRequest():
                return _checked(adapter.spend(session, request), request)
            case CancelRequest():
                return _checked(adapter.cancel(session, request), request)
    except RaisedError as error:
        # The adapter knows no fact for it: somebody should look at what the procedure says.
        log.warning(
            "legacy_raised",
            sqlstate=error.sqlstate,
            number=error.number,
            error=error.message,
            detail=error.detail,
        )
        raise
    except LegacyError:
        raise
    except Exception as error:
        # Of every kind: the call may have been done, and that must not get lost behind an error of ours.
        log.exception("legacy_adapter_stumbled", request=type(request).__name__)
        raise AnswerInvalid(f"{type(error).__name__}: {error}") from error


def _check_features(adapter: LegacyAdapter, request: Request) -> None:
    """Raises NotRepresentable for what the adapter does not declare."""
    needed: list[Feature] = []
    match request:
        case EarnRequest():
            needed.append(Feature.EARN)
            if request.expires_at is not BY_LEGACY and not adapter.takes_expires_at:
                raise NotRepresentable("The legacy takes no expiry of one's own.")
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
    if decision.account_number not in (None, request.account_number):
        raise AnswerInvalid("the row of another account")
    check_moment(decision.recorded_at)
    if decision.row_id is not None and (not isinstance(decision.row_id, str) or not decision.row_id):
        raise AnswerInvalid(f"{decision.row_id!r} as the id of a row")
    if decision.shares is not None:
        if any(not isinstance(share.lot_id, str) or not share.lot_id for share in decision.shares):
            raise AnswerInvalid("a share without a lot")
        if any(type(share.points) is not int or share.points < 1 for share in decision.shares):
            raise AnswerInvalid("a share that is not positive")
        if sum(share.points for share in decision.shares) != decision.points:
            raise AnswerInvalid("shares that do not add up to the points")
    return decision


def check_moment(moment: datetime) -> None:
    """Raises AnswerInvalid for a moment without a zone, or one that is still to come."""
    check_moments((moment,))


def check_moments(moments: Iterable[datetime]) -> None:
    """The same of many."""
    latest = datetime.now(UTC) + _CLOCK_MAY_BE_OFF
    for moment in moments:
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise AnswerInvalid(f"{moment!r} where a moment should be")
        if moment > latest:
            raise AnswerInvalid(f"{moment.isoformat()}, which is still to come")


# --- settling -------------------------------------------------------------------------------------------
def settle(
    adapter: LegacyAdapter,
    session: Session,
    request: Request,
    *,
    known_row_id: str | None,
    old_session: str,
    of_others: Callable[[Collection[str]], Collection[str]] = lambda row_ids: (),
) -> Settled:
    """Find out what became of a call whose answer was lost.

    `known_row_id` is the bookmark from before the call, `old_session` the session that made it: absence
    counts only once that session is gone. `of_others` tells which rows are known to be other operations.
    Raises NotDone or OutcomeUnknown when the legacy cannot be asked.
    """
    is_gone = old_session == session.identity or session.dialect.end(session.query, old_session)
    # While the call may still be going on, its id proves it only once nothing more can follow; and a row
    # without our id may be somebody else's, with ours still to come.
    proves_alone = adapter.settling is Settling.BY_MARKER or (
        adapter.settling is Settling.BY_ID and not adapter.commits_itself
    )
    try:
        found = _find(adapter, session, request, known_row_id=known_row_id, of_others=of_others)
    except LegacyError as error:
        if not isinstance(error, AnswerInvalid):
            raise
        return StillUnknown(why=f"The legacy's answer cannot be true: {error}", is_final=True)
    except Exception as error:
        log.exception("legacy_adapter_stumbled", request=type(request).__name__)
        return StillUnknown(why=f"The legacy's answer cannot be read: {error}", is_final=True)
    if is_gone or (proves_alone and isinstance(found, Applied)):
        return found
    return StillUnknown(why="The session that made the call is still there, or hidden from us.")


def _find(
    adapter: LegacyAdapter,
    session: Session,
    request: Request,
    *,
    known_row_id: str | None,
    of_others: Callable[[Collection[str]], Collection[str]],
) -> Settled:
    match adapter.settling:
        case Settling.BY_ID:
            decision = adapter.find_by_operation_id(
                session, operation_id=request.operation_id, account_number=request.account_number
            )
        case Settling.BY_MARKER:
            decision = marker.find(session, operation_id=request.operation_id)
        case Settling.BY_NEW_ROW:
            return _find_new_row(adapter, session, request, known_row_id=known_row_id, of_others=of_others)
    return NotApplied() if decision is None else Applied(decision=_checked(decision, request))


def _find_new_row(
    adapter: LegacyAdapter,
    session: Session,
    request: Request,
    *,
    known_row_id: str | None,
    of_others: Callable[[Collection[str]], Collection[str]],
) -> Settled:
    rows = adapter.rows_after(
        session,
        row_id=known_row_id,
        limit=_NEW_ROWS_LOOKED_AT,
        account_number=request.account_number,
    )
    if any(row.account_number != request.account_number for row in rows):
        raise AnswerInvalid("the row of another account")
    keeps_references = Feature.FIND_BY_REFERENCE in adapter.features
    matching = [row for row in rows if _is_of(row, request, keeps_references=keeps_references)]
    others = set(of_others([row.row_id for row in matching]))
    matching = [row for row in matching if row.row_id not in others]
    if len(rows) >= _NEW_ROWS_LOOKED_AT:
        return StillUnknown(why="Too many rows came since to be sure.", is_final=True)
    if not matching:
        return NotApplied()
    if len(matching) > 1:
        return StillUnknown(
            why=f"{len(matching)} new rows could be this operation.",
            is_final=True,
            evidence={"row_ids": [row.row_id for row in matching]},
        )
    return Applied(decision=_checked(matching[0].decision, request))


def _is_of(row: HistoryRow, request: Request, *, keeps_references: bool) -> bool:
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
    if row.operation_id is not None and row.operation_id != request.operation_id:
        return False
    if request.reference is None or isinstance(request, CancelRequest):
        return True
    return row.reference == request.reference or (row.reference is None and not keeps_references)
