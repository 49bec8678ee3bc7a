"""Telling the ledger what the legacy decided.

The legacy's own history says what happened on an account, and in which order: rows of ours and of others,
each with the lots that it touched. They are posted in that order from the account's position on, in one
transaction with the position and the messages that they settle. So a message is the reason to look, and what
is told is what the legacy kept (docs/concepts/mirroring.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import structlog
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    transaction,
)

from cutover import identifiers, lots, mismatches, rows
from cutover.mirroring import messages, tail
from cutover.mirroring.messages import Waiting
from cutover.models import Difference, Direction, Failure, FoundBy
from ledger import crash_points
from ledger.bounds import SpendingOrder
from ledger.database import fetch_all, from_jsonb
from ledger.models import EntryKind
from ledger.operations import following
from ledger.operations.following import Fact, FactShare, Followed
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.records import HistoryRow
from legacy_bridge.sessions import Session

log = structlog.get_logger(__name__)

#: Rows of one account that are posted at once.
ROWS_AT_ONCE: Final = 200
_WAITS_FOR_ROW: Final = (
    "Its row is not in the legacy's history, or comes after one of which it is not known yet whose it is."
)

_POSITIONS: Final = """
SELECT number, followed.position
FROM unnest(%s::text[]) AS number
LEFT JOIN cutover_followed_account AS followed ON followed.account_number = number
"""
# One follower of an account at a time: the row is made first, and locked in the order of the numbers.
_MAKE_FOLLOWED: Final = """
INSERT INTO cutover_followed_account (account_number)
SELECT number FROM unnest(%s::text[]) AS number ORDER BY number
ON CONFLICT (account_number) DO NOTHING
"""
_LOCK_FOLLOWED: Final = """
SELECT account_number, position FROM cutover_followed_account
WHERE account_number = ANY (%s) ORDER BY account_number FOR UPDATE
"""
_MOVE: Final = """
UPDATE cutover_followed_account AS followed SET position = moved.position
FROM unnest(%s::text[], %s::text[]) AS moved(account_number, position)
WHERE followed.account_number = moved.account_number
"""
_OPERATIONS: Final = """
SELECT id, counterpart_id, kind, points, recorded_at, reason_id, cancels_id, shares, decided_elsewhere,
    account_number
FROM ledger_operation
WHERE counterpart_id = ANY (%s) OR id = ANY (%s::uuid[])
"""
_ROWS_TOLD_OF: Final = """
SELECT operation.counterpart_id
FROM cutover_message AS message JOIN ledger_operation AS operation ON operation.id = message.operation_id
WHERE message.account_number = ANY (%s) AND message.state = 'waiting' AND message.direction = 'to_ledger'
    AND operation.counterpart_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM ledger_entry AS entry WHERE entry.operation_id = operation.id)
ORDER BY message.id
"""
_ADD_MESSAGE: Final = """
INSERT INTO cutover_message (
    account_number, direction, operation_id, stage, epoch, state, created_at, due_at
)
SELECT %s, 'to_ledger', %s, coalesce(operation.stage, route.stage), coalesce(operation.epoch, route.epoch),
    'waiting', clock_timestamp(), clock_timestamp()
FROM ledger_operation AS operation
LEFT JOIN cutover_member AS member ON member.account_number = operation.account_number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE operation.id = %s
ON CONFLICT (operation_id) DO UPDATE SET due_at = EXCLUDED.due_at WHERE cutover_message.state = 'waiting'
RETURNING id
"""
_RECONSTRUCTED: Final = """
INSERT INTO cutover_reconstruction (operation_id, why)
SELECT id, 'The legacy does not say which lots it touched.' FROM unnest(%s::uuid[]) AS id
ON CONFLICT DO NOTHING
"""


@dataclass(slots=True, kw_only=True)
class Told:
    """What one round did: messages applied, with the seconds that each took, and those that were parked."""

    posted: int = 0
    applied: int = 0
    parked: int = 0
    left: int = 0
    lags: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Operation:
    id: UUID
    counterpart_id: str | None
    kind: str
    points: int
    recorded_at: datetime
    reason_id: int | None
    cancels_id: UUID | None
    shares: Any
    decided_elsewhere: bool
    account_number: str


def tell(account_numbers: Sequence[str]) -> Told:
    """Bring the ledger up to the legacy's history of these accounts, and settle their messages.

    What cannot be posted is parked, with its account. Raises DatabaseError when our own database does not
    answer, and LegacyError when the legacy does not; nothing of these accounts is lost then.
    """
    told = Told()
    adapter = configured.adapter()
    with sessions.session() as session:
        positions = list(fetch_all(_POSITIONS, [list(account_numbers)]))
        rows_told_of = [row[0] for row in fetch_all(_ROWS_TOLD_OF, [list(account_numbers)])]
        found = tail.of_accounts(adapter, session, positions, limit=ROWS_AT_ONCE)
        strays = _strays(adapter, session, rows_told_of, found)
        for number, of_account in found.items():
            _check(of_account, account_number=number)
        rows.operations_of(session, [row for of_account in found.values() for row in of_account])
    crash_points.reach("mirror.to_ledger.read")
    _post(dict(positions), found, strays, told)
    return told


def _strays(
    adapter: LegacyAdapter,
    session: Session,
    rows_told_of: Sequence[str],
    found: dict[str, Sequence[HistoryRow]],
) -> set[str]:
    """Add the rows that were there before the list was read, and are not in it: a legacy that does not write
    the rows of an account one after the other may commit one behind the position. Their ids."""
    ends = {number for number, of_account in found.items() if len(of_account) < ROWS_AT_ONCE}
    listed = {row.row_id for of_account in found.values() for row in of_account}
    missing = [row_id for row_id in rows_told_of if row_id not in listed]
    if not missing:
        return set()
    strays = [row for row in adapter.rows_by_id(session, missing) if row.account_number in ends]
    for row in strays:
        found[row.account_number] = [*found[row.account_number], row]
    return {row.row_id for row in strays}


def _check(found: Sequence[HistoryRow], *, account_number: str) -> None:
    for row in found:
        if row.account_number != account_number:
            raise errors.AnswerInvalid(f"row {row.row_id} of another account")
        giving.check_moment(row.recorded_at)


def _post(
    positions: dict[str, str | None], found: dict[str, Sequence[HistoryRow]], strays: set[str], told: Told
) -> None:
    """Post the facts of these rows and settle what they settle, in one transaction."""
    failed: list[tuple[_Operation, following.Diverged, HistoryRow | None]] = []
    with transaction.atomic():
        numbers = sorted(found)
        fetch_all(_MAKE_FOLLOWED, [numbers])
        # Whoever was faster has moved the position: what was read from the old one on is not the news.
        mine = {
            number
            for number, position in fetch_all(_LOCK_FOLLOWED, [numbers])
            if position == positions[number]
        }
        waiting = messages.of_accounts(sorted(mine), direction=Direction.TO_LEDGER, limit=2 * ROWS_AT_ONCE)
        plan = _Plan(mine, found, strays, waiting)
        followed = following.post(plan.facts, order=_order())
        crash_points.reach("mirror.to_ledger.posted")
        told.posted += len(followed.posted)
        failed = plan.settle(followed, told)
        _note(followed, plan)
    crash_points.reach("mirror.to_ledger.committed")
    for operation, diverged, row in failed:
        _park(operation, diverged, row)
        told.parked += 1


def _order() -> SpendingOrder:
    oldest = configured.adapter().takes_oldest_first
    return SpendingOrder.OLDEST if oldest else SpendingOrder.SOONEST_EXPIRY


class _Plan:
    """What is to be posted of some accounts, in order, and which messages and positions follow from it."""

    def __init__(
        self,
        numbers: set[str],
        found: dict[str, Sequence[HistoryRow]],
        strays: set[str],
        waiting: Sequence[Waiting],
    ) -> None:
        self.strays = strays
        self.found = {number: found[number] for number in sorted(numbers)}
        self.waiting = waiting
        every = [row for of_account in self.found.values() for row in of_account]
        self.row_of: dict[UUID, HistoryRow] = {}
        self.by_row: dict[str, _Operation] = {}
        self.by_id: dict[UUID, _Operation] = {}
        for row in fetch_all(
            _OPERATIONS,
            [[one.row_id for one in every], [message.operation_id for message in waiting]],
        ):
            operation = _Operation(*row)
            self.by_id[operation.id] = operation
            if operation.counterpart_id is not None:
                self.by_row[operation.counterpart_id] = operation
        self.ids = lots.ids_of(list({share.lot_id for row in every for share in row.shares or ()}))
        self.facts: list[Fact] = []
        #: By account: the rows that were planned, and whether there may be more behind them.
        self.planned: dict[str, list[HistoryRow]] = {}
        self.is_cut: dict[str, bool] = {}
        for number, of_account in self.found.items():
            self._plan(number, of_account)

    def _plan(self, number: str, of_account: Sequence[HistoryRow]) -> None:
        planned: list[HistoryRow] = []
        self.is_cut[number] = len(of_account) >= ROWS_AT_ONCE
        for row in of_account:
            operation = self.by_row.get(row.row_id)
            if operation is None:
                # It may be of a call of ours that is not settled yet: what comes after it waits with it.
                self.is_cut[number] = True
                break
            planned.append(row)
            if operation.decided_elsewhere:
                self.row_of[operation.id] = row
                self.facts.append(self._of_row(operation, row))
        self.planned[number] = planned
        if self.is_cut[number]:
            return
        for message in self.waiting:
            silent = self.by_id.get(message.operation_id)
            if message.account_number == number and silent is not None and silent.counterpart_id is None:
                self.facts.append(_of_operation(silent))

    def _of_row(self, operation: _Operation, row: HistoryRow) -> Fact:
        shares = None
        if row.shares is not None:
            shares = [
                FactShare(lot=self.ids[share.lot_id], points=share.points, expires_at=share.expires_at)
                for share in row.shares
            ]
        return Fact(
            operation_id=operation.id,
            entry_id=identifiers.entry_id(row.row_id),
            kind=EntryKind(operation.kind),
            account_number=row.account_number,
            points=row.points,
            recorded_at=operation.recorded_at,
            reason_id=operation.reason_id,
            cancels_id=operation.cancels_id,
            shares=shares,
        )

    def settle(
        self, followed: Followed, told: Told
    ) -> list[tuple[_Operation, following.Diverged, HistoryRow | None]]:
        """Move the positions and end the messages; what diverged, to be parked after the commit."""
        here = {*followed.posted, *followed.known}
        moved: dict[str, str] = {}
        for number, planned in self.planned.items():
            for row in planned:
                if row.row_id in self.strays:
                    continue
                operation = self.by_row[row.row_id]
                if operation.decided_elsewhere and operation.id not in here:
                    break
                moved[number] = row.row_id
        if moved:
            fetch_all(_MOVE, [list(moved), list(moved.values())])
        done = [message for message in self.waiting if message.operation_id in here]
        elsewhere = [message for message in self.waiting if message.operation_id not in here]
        known = following.posted([message.operation_id for message in elsewhere])
        # Posted earlier: their rows are before the position.
        before = [message for message in elsewhere if message.operation_id in known]
        told.lags += messages.applied([message.id for message in done])
        messages.applied([message.id for message in before], note="It was here before.")
        told.applied += len(done) + len(before)
        settled = {message.id for message in [*done, *before]}
        moving = {message.account_number for message in [*done, *before]}
        left = [message for message in self.waiting if message.id not in settled]
        messages.release([message.id for message in left if message.account_number in moving])
        stuck = [message.id for message in left if message.account_number not in moving]
        messages.wait(stuck, why=_WAITS_FOR_ROW)
        told.left += len(left)
        return [
            (self.by_id[operation_id], diverged, self.row_of.get(operation_id))
            for operation_id, diverged in followed.diverged.items()
        ]


def _of_operation(operation: _Operation) -> Fact:
    """A fact of an operation that the legacy keeps no row of: what was told with its outcome."""
    told = from_jsonb(operation.shares)
    shares = None
    if told is not None:
        shares = [
            FactShare(
                lot=UUID(lot), points=points, expires_at=datetime.fromisoformat(lapses) if lapses else None
            )
            for lot, points, lapses in told
        ]
    kind = EntryKind(operation.kind)
    is_taken = kind in (EntryKind.SPEND, EntryKind.EARN_CANCEL, EntryKind.EXPIRE)
    return Fact(
        operation_id=operation.id,
        entry_id=uuid5(operation.id, "entry"),
        kind=kind,
        account_number=operation.account_number,
        points=-operation.points if is_taken else operation.points,
        recorded_at=operation.recorded_at,
        reason_id=operation.reason_id,
        cancels_id=operation.cancels_id,
        shares=shares,
    )


def _note(followed: Followed, plan: _Plan) -> None:
    """Keep what a person should know of what was posted."""
    if followed.inferred:
        fetch_all(_RECONSTRUCTED, [followed.inferred])
    for found, difference, ledger in (
        (followed.against_rules, Difference.ZONE, "would have refused"),
        (followed.other_lots, Difference.ORDER, "posted over other lots"),
    ):
        for operation_id, why in found.items():
            mismatches.record(
                account_number=plan.by_id[operation_id].account_number,
                subject=f"operation:{operation_id}",
                difference=difference,
                found_by=FoundBy.MIRROR,
                legacy="decided",
                ledger=ledger,
                why=why,
            )


def _park(operation: _Operation, diverged: following.Diverged, row: HistoryRow | None) -> None:
    """Leave an operation that the ledger cannot follow to a person."""
    added = fetch_all(_ADD_MESSAGE, [operation.account_number, operation.id, operation.id])
    payload = payload_of(operation, row)
    for (message_id,) in added:
        messages.park(message_id, failure=Failure.DIVERGENCE, error=str(diverged), payload=payload)
    mismatches.record(
        account_number=operation.account_number,
        subject=f"operation:{operation.id}",
        difference=Difference.REAL,
        found_by=FoundBy.MIRROR,
        legacy=payload,
        ledger=None,
        why=str(diverged),
    )


def payload_of(operation: _Operation, row: HistoryRow | None) -> dict[str, Any]:
    """What the ledger was to be told, as JSON."""
    told: dict[str, Any] = {
        "operation_id": str(operation.id),
        "kind": operation.kind,
        "account_number": operation.account_number,
        "points": operation.points,
        "recorded_at": operation.recorded_at.isoformat(),
        "cancels": None if operation.cancels_id is None else str(operation.cancels_id),
        "legacy_row": operation.counterpart_id,
    }
    if row is not None:
        told["row"] = msgspec.to_builtins(row, enc_hook=str)
    return told


def tell_each(account_numbers: Sequence[str]) -> Told:
    """`tell`, and when that fails for what one of the accounts has, each by itself: what fails then is
    parked, or left for later when it may succeed by itself."""
    try:
        return tell(account_numbers)
    except (OperationalError, InterfaceError, errors.NotDone, errors.OutcomeUnknown):
        raise
    except Exception as error:
        if len(account_numbers) == 1:
            return _leave(account_numbers[0], error)
    told = Told()
    for number in account_numbers:
        one = tell_each([number])
        told.posted += one.posted
        told.applied += one.applied
        told.parked += one.parked
        told.left += one.left
        told.lags += one.lags
    return told


def _leave(account_number: str, error: Exception) -> Told:
    """Park the first message of an account that nothing can be done for, or leave it for later."""
    waiting = messages.of_accounts([account_number], direction=Direction.TO_LEDGER, limit=1)
    if not waiting:
        log.exception("account_not_followed", account_number=account_number)
        return Told()
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, DatabaseError) and not isinstance(error, IntegrityError | DataError):
        messages.retry([waiting[0].id], error=text)
        return Told(left=1)
    log.exception("mirror_message_poison", message=waiting[0].id)
    messages.park(
        waiting[0].id,
        failure=Failure.POISON,
        error=text,
        payload={"operation_id": str(waiting[0].operation_id), "account_number": account_number},
    )
    return Told(parked=1)
