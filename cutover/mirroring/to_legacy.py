"""Telling the legacy what the ledger decided.

Each message is one call of a procedure, made with the care of an intent (docs/adr/0021-...): the attempt is
noted before the call, no lock is held over it, and what was lost is asked for and never run twice. The notes
of some calls are one commit, and so are their outcomes; where only the account's new rows tell what became of
a call, each has its own.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError, transaction

from cutover import rows
from cutover.mirroring import attempts, decided, differences, messages, metrics
from cutover.mirroring.attempts import Done
from cutover.mirroring.messages import Waiting
from cutover.models import Difference, Direction, Failure
from ledger import crash_points
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter, Settling
from legacy_bridge.dialects import RaisedError
from legacy_bridge.records import Applied, Decision, NotApplied, Request, StillUnknown

log = structlog.get_logger(__name__)

_OF_AN_ACCOUNT: Final = 20
_NOTED_AT_ONCE: Final = 50
#: A procedure that fails at an operation so often waits for a person.
_MOST_ATTEMPTS: Final = 6
#: So many calls in a row without an answer mean that the legacy is away.
_FAILURES_OF_ONE_CAUSE: Final = 3
_PAUSE_SECONDS: Final = 1.0
_BUSY_PAUSE_SECONDS: Final = 0.2


def tell(account_numbers: Sequence[str]) -> int:
    """Give the legacy what waits for it on these accounts, in order on each; messages applied.

    What fails by itself is left for later, or parked with its account; every other account goes on. Raises
    NotDone or OutcomeUnknown when the legacy is away, and DatabaseError when our own database is; nothing is
    lost then, and nothing is told twice.
    """
    return _Round(account_numbers).run()


class _Round:
    """The messages of some accounts, on their way to the legacy."""

    def __init__(self, account_numbers: Sequence[str]) -> None:
        self.adapter: LegacyAdapter = configured.adapter()
        waiting = messages.of_accounts(account_numbers, direction=Direction.TO_LEGACY, limit=_OF_AN_ACCOUNT)
        self.decided = decided.read([message.operation_id for message in waiting])
        self.waiting = waiting
        #: Accounts on which nothing more is done in this round.
        self.stopped: set[str] = set()
        #: Rows that the legacy made in this round, by operation.
        self.rows: dict[UUID, str] = {}
        self.applied = 0
        self.failures = 0
        self.is_by_new_row = self.adapter.settling is Settling.BY_NEW_ROW
        self.stop_at = time.monotonic() + messages.LEASE_SECONDS / 2

    def run(self) -> int:
        at_once = 1 if self.is_by_new_row else _NOTED_AT_ONCE
        try:
            while self.waiting and time.monotonic() < self.stop_at:
                chunk, self.waiting = self.waiting[:at_once], self.waiting[at_once:]
                self._tell([message for message in chunk if message.account_number not in self.stopped])
        except (errors.NotDone, errors.OutcomeUnknown):
            attempts.put_off([message.id for message in self.waiting], seconds=_PAUSE_SECONDS)
            raise
        messages.release(self._left_over())
        return self.applied

    def _left_over(self) -> list[int]:
        """What the time did not suffice for. An account that was stopped has its own next moment."""
        return [message.id for message in self.waiting if message.account_number not in self.stopped]

    def _tell(self, chunk: Sequence[Waiting]) -> None:
        """What may have been told before is asked for when its turn comes: a cancel is asked for by the row
        of what it cancels, which may be told a moment before."""
        together: list[Waiting] = []
        for message in chunk:
            if message.session:
                self._give(together)
                together = []
            if self._is_to_be_given(message):
                together.append(message)
        self._give(together)

    def _give(self, together: Sequence[Waiting]) -> None:
        if together:
            left = _Chunk(self, together).run()
            self.waiting = [*left, *self.waiting]

    def is_told(self, message: Waiting) -> bool:
        found = self.decided.get(message.operation_id)
        return found is None or decided.is_told(found)

    # --- what was lost earlier ----------------------------------------------------------------------------
    def _is_to_be_given(self, message: Waiting) -> bool:
        """Whether the legacy has certainly not done it. What it has done is ended, and what it cannot tell
        is left. Raises NotDone and OutcomeUnknown when it cannot be asked."""
        if message.account_number in self.stopped:
            return False
        if not message.session or not self.is_told(message):
            return True
        request = self.request(message, session=message.session)
        if request is None:
            return False
        with sessions.session() as session:
            found = giving.settle(
                self.adapter,
                session,
                request,
                known_row_id=message.bookmark,
                old_session=message.session,
                of_others=rows.taken,
            )
        crash_points.reach("mirror.to_legacy.settled")
        match found:
            case NotApplied():
                return True
            case Applied():
                self.end([self.done(message, found.decision, note="It was there already.")], message.session)
                return False
            case StillUnknown():
                self._keep_unknown(message, found)
                return False

    def _keep_unknown(self, message: Waiting, found: StillUnknown) -> None:
        if found.is_final:
            evidence = {**self.payload(message), "found": dict(found.evidence)}
            self.park(message, message.session, Failure.DIVERGENCE, found.why, evidence, is_known=False)
        else:
            self.leave(message, message.session, found.why, is_known=False)

    # --- what becomes of a message ------------------------------------------------------------------------
    def request(self, message: Waiting, *, session: str) -> Request | None:
        """What to ask for; None when that cannot be said, and the message is parked."""
        try:
            return decided.request_of(self.decided[message.operation_id], self.adapter, rows=self.rows)
        except errors.NotRepresentable as error:
            why = str(error)
        except Exception as error:
            log.exception("mirror_message_poison", message=message.id)
            why = f"{type(error).__name__}: {error}"
        self.park(message, session, Failure.POISON, why, self.payload(message), is_known=True)
        return None

    def payload(self, message: Waiting) -> dict[str, Any]:
        found = self.decided.get(message.operation_id)
        return {"operation_id": str(message.operation_id)} if found is None else decided.payload_of(found)

    def done(self, message: Waiting, decision: Decision | None, *, note: str = "") -> Done:
        found = self.decided[message.operation_id]
        if decision is not None and decision.row_id is not None:
            self.rows[message.operation_id] = decision.row_id
        granted = found.touched[0].lot if found.kind == "earn" else None
        return Done(message=message, decision=decision, granted=granted, note=note)

    def end(self, done: Sequence[Done], session: str) -> None:
        """End what was told, with what it shows of both sides; one that cannot be kept is parked."""
        if not done:
            return
        try:
            with transaction.atomic():
                settled = attempts.complete(done, session=session, is_durable=self.is_by_new_row)
                tied = {each.message_id: each.is_tied for each in settled}
                ours = [each for each in done if each.message.id in tied]
                differences.compare(
                    [
                        (self.decided[each.message.operation_id], each.decision, tied[each.message.id])
                        for each in ours
                        if each.decision is not None
                    ]
                )
        except (IntegrityError, DataError) as error:
            if len(done) > 1:
                for each in done:
                    self.end([each], session)
                return
            why = f"It was told, and its outcome cannot be kept: {error}"
            message = done[0].message
            self.park(message, session, Failure.POISON, why, self.payload(message), is_known=False)
            return
        self.applied += len(settled)
        for lag in (each.lag_seconds for each in settled):
            metrics.applied(Direction.TO_LEGACY, lag_seconds=lag)

    def park(
        self, message: Waiting, session: str, failure: Failure, why: str, payload: Any, *, is_known: bool
    ) -> None:
        """Leave a message and its account to a person, and record that both sides differ."""
        self.stopped.add(message.account_number)
        with transaction.atomic():
            is_ours = attempts.park(
                message.id, session=session, failure=failure, error=why, payload=payload, is_known=is_known
            )
            found = self.decided.get(message.operation_id)
            if is_ours and found is not None:
                differences.note(
                    found, Difference.REAL, legacy=None, ledger=decided.payload_of(found), why=why
                )

    def leave(self, message: Waiting, session: str, why: str, *, is_known: bool) -> None:
        self.stopped.add(message.account_number)
        attempts.leave(
            message.id,
            session=session,
            attempts=message.attempts,
            error=why,
            payload=self.payload(message),
            is_known=is_known,
        )


@dataclass(slots=True)
class _Chunk:
    """Some messages that are noted at once, given one by one, and ended at once."""

    round: _Round
    messages: Sequence[Waiting]
    session: str = ""
    noted: set[int] = field(default_factory=set)
    done: list[Done] = field(default_factory=list)
    #: Those whose calls were made, or were found to be impossible.
    tried: set[int] = field(default_factory=set)

    def run(self) -> list[Waiting]:
        """Those that may be tried again at once, on another session. Raises NotDone and OutcomeUnknown when
        the legacy is away."""
        self._note()
        crash_points.reach("mirror.to_legacy.noted")
        stop_at = time.monotonic() + messages.LEASE_SECONDS / 2
        try:
            for message in self.messages:
                if message.id not in self.noted:
                    self.round.stopped.add(message.account_number)
                if message.account_number in self.round.stopped:
                    continue
                if time.monotonic() > stop_at or not self._give(message):
                    break
        finally:
            # Also when the legacy went away in the middle: what it did before is done.
            self.round.end(self.done, self.session)
            left = [message for message in self.messages if message.id in self.noted - self.tried]
            pause_seconds = _PAUSE_SECONDS if self.round.failures else 0.0
            attempts.take_back(
                [message.id for message in left], session=self.session, after_seconds=pause_seconds
            )
        crash_points.reach("mirror.to_legacy.kept")
        return [
            replace(message, session="", bookmark=None)
            for message in left
            if message.account_number not in self.round.stopped
        ]

    def _note(self) -> None:
        adapter = self.round.adapter
        with sessions.session() as session:
            self.session = session.identity
            bookmarks = [
                giving.bookmark(adapter, session, account_number=message.account_number)
                for message in self.messages
            ]
        self.noted = attempts.note(self.messages, session=self.session, bookmarks=bookmarks)

    def _give(self, message: Waiting) -> bool:
        """Tell one; whether the next may be told on the same session. Raises NotDone and OutcomeUnknown when
        too many in a row had no answer."""
        if not self.round.is_told(message):
            self.tried.add(message.id)
            self.done.append(self.round.done(message, None, note="Points lapse there by themselves."))
            return True
        request = self.round.request(message, session=self.session)
        if request is None:
            self.tried.add(message.id)
            return True
        return self._call(message, request)

    def _call(self, message: Waiting, request: Request) -> bool:
        try:
            with sessions.session() as session:
                if session.identity != self.session:
                    return False
                self.tried.add(message.id)
                decision = giving.give(self.round.adapter, session, request)
        except errors.Refused as refused:
            why = f"The legacy refused it, {refused.fact.value}: {refused}"
            self._park(message, Failure.DIVERGENCE, why)
        except errors.NotRepresentable as error:
            self._park(message, Failure.POISON, str(error))
        except errors.Busy as error:
            self._leave_busy(message, error)
        except errors.NotDone as error:
            return self._leave_undone(message, error)
        except errors.OutcomeUnknown as error:
            self.round.leave(message, self.session, str(error), is_known=False)
            self._count_failure(error)
            return False
        else:
            crash_points.reach("mirror.to_legacy.told")
            self.done.append(self.round.done(message, decision))
        self.round.failures = 0
        return True

    def _park(self, message: Waiting, failure: Failure, why: str) -> None:
        self.round.park(message, self.session, failure, why, self.round.payload(message), is_known=True)

    def _leave_busy(self, message: Waiting, error: errors.Busy) -> None:
        log.info("mirror_message_busy", message=message.id, error=str(error)[:500])
        self.round.stopped.add(message.account_number)
        if message.id in self.tried:
            attempts.take_back([message.id], session=self.session, after_seconds=_BUSY_PAUSE_SECONDS)

    def _leave_undone(self, message: Waiting, error: errors.NotDone) -> bool:
        """Nothing was done. A legacy that is slow or away may do it later; one that fails at it will not."""
        self.tried.add(message.id)
        fails = isinstance(error, RaisedError) or isinstance(error.__cause__, errors.AnswerInvalid)
        if fails and message.attempts + 1 >= _MOST_ATTEMPTS:
            self._park(message, Failure.POISON, f"The legacy fails at it every time: {error}")
            return True
        self.round.leave(message, self.session, str(error), is_known=True)
        if fails:
            return True
        self._count_failure(error)
        return True

    def _count_failure(self, error: errors.LegacyError) -> None:
        self.round.failures += 1
        if self.round.failures >= _FAILURES_OF_ONE_CAUSE:
            raise error
