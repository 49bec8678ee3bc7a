"""Telling the legacy what the ledger decided.

Each message is one call of a procedure, made with the care of an intent (docs/adr/0021-...): the attempt is
noted before the call, no lock is held over it, and what was lost is asked for and never run twice. The notes
of some calls are one commit, and so are their outcomes; where only the account's new rows tell what became of
a call, each has its own.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import DataError, IntegrityError, transaction

from cutover import rows
from cutover.mirroring import attempts, chunks, decided, differences, lanes, messages, metrics
from cutover.mirroring.attempts import Done
from cutover.mirroring.messages import Waiting
from cutover.models import Difference, Direction, Failure
from ledger import crash_points
from legacy_bridge import configured, errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter, Settling
from legacy_bridge.records import Applied, Decision, NotApplied, Request, Settled, StillUnknown

log = structlog.get_logger(__name__)

_OF_AN_ACCOUNT: Final = 20
_NOTED_AT_ONCE: Final = 96
#: A procedure that fails at an operation so often waits for a person.
_MOST_ATTEMPTS: Final = 6
_PAUSE_SECONDS: Final = 1.0
_BUSY_PAUSE_SECONDS: Final = 0.5


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
        # A bookmark should be young when the call is made: others may add rows behind it.
        self.at_once = lanes.count() if self.is_by_new_row else _NOTED_AT_ONCE
        self.stop_at = time.monotonic() + messages.LEASE_SECONDS / 2

    def run(self) -> int:
        chunk: list[Waiting] = []
        try:
            while self.waiting and time.monotonic() < self.stop_at:
                chunk = self._next()
                self._tell(chunk)
        except (errors.NotDone, errors.OutcomeUnknown):
            left = [each for each in (*chunk, *self.waiting) if each.account_number not in self.stopped]
            attempts.put_off(left, seconds=_PAUSE_SECONDS)
            raise
        messages.release(self._left_over())
        return self.applied

    def _next(self) -> list[Waiting]:
        """What is noted at once: of an account by whose new rows alone a call is settled, one at a time."""
        chunk: list[Waiting] = []
        rest: list[Waiting] = []
        accounts: set[str] = set()
        for message in self.waiting:
            if message.account_number in self.stopped:
                continue
            waits = self.is_by_new_row and message.account_number in accounts
            accounts.add(message.account_number)
            (rest if waits or len(chunk) >= self.at_once else chunk).append(message)
        self.waiting = rest
        return chunk

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
        together = [message for message in together if message.account_number not in self.stopped]
        if not together:
            return
        given = chunks.give(self.adapter, together, request_of=self._request_to_give, rows=self.rows)
        self.stopped |= given.taken
        self.end(
            [self.done(each.message, each.outcome, each.session) for each in given.tried if _is_done(each)]
        )
        for each in given.tried:
            if isinstance(each.outcome, Exception):
                self._fail(each.message, each.session, each.outcome)
        crash_points.reach("mirror.to_legacy.kept")
        self._take_back(given)
        counted: Exception | None = None
        for each in given.tried:
            error = each.outcome if isinstance(each.outcome, Exception) else None
            # A COMMIT that was not answered is one failure, however many calls it was of.
            if error is None or error is not counted:
                self._count(error)
            counted = error

    def _count(self, error: Exception | None) -> None:
        """Raises `error` when so many calls in a row had no answer that the legacy is away."""
        self.failures = self.failures + 1 if error is not None and chunks.is_away(error) else 0
        if error is not None and self.failures >= chunks.FAILURES_OF_ONE_CAUSE:
            raise error

    def _take_back(self, given: chunks.Given) -> None:
        """What was noted and not given is as it was before, and may be given next."""
        attempts.take_back(given.left, after_seconds=0.0)
        again = [
            replace(message, session="", bookmark=None)
            for message, _ in given.left
            if message.account_number not in self.stopped
        ]
        self.waiting = [*again, *self.waiting]

    def _request_to_give(self, message: Waiting, rows: Mapping[UUID, str]) -> Request | None:
        """None where nothing has to be told. Raises NotRepresentable."""
        if not self.is_told(message):
            return None
        return decided.request_of(self.decided[message.operation_id], self.adapter, rows=rows)

    def _fail(self, message: Waiting, session: str, error: Exception) -> None:
        """Leave what was not done for later, or to a person."""
        match error:
            case errors.Refused():
                why = f"The legacy refused it, {error.fact.value}: {error}"
                self._park(message, session, Failure.DIVERGENCE, why)
            case errors.NotRepresentable():
                self._park(message, session, Failure.POISON, str(error))
            case errors.Busy():
                log.info("mirror_message_busy", message=message.id, error=str(error)[:500])
                self.stopped.add(message.account_number)
                attempts.take_back([(message, session)], after_seconds=_BUSY_PAUSE_SECONDS)
            case errors.OutcomeUnknown():
                self.leave(message, session, str(error), is_known=False)
            case errors.NotDone():
                # A legacy that is slow or away may do it later; one that fails at it will not.
                if chunks.is_own_trouble(error) and message.attempts + 1 >= _MOST_ATTEMPTS:
                    why = f"The legacy fails at it every time: {error}"
                    self._park(message, session, Failure.POISON, why)
                else:
                    self.leave(message, session, str(error), is_known=True)
            case _:
                log.error("mirror_message_poison", message=message.id, exc_info=error)
                self._park(message, session, Failure.POISON, f"{type(error).__name__}: {error}")

    def _park(self, message: Waiting, session: str, failure: Failure, why: str) -> None:
        self.park(message, session, failure, why, self.payload(message), is_known=True)

    def is_told(self, message: Waiting) -> bool:
        found = self.decided.get(message.operation_id)
        return found is None or decided.is_told(found)

    # --- what was lost earlier ----------------------------------------------------------------------------
    def _is_to_be_given(self, message: Waiting) -> bool:
        """Whether the legacy has certainly not done it. What it has done is ended, and what it cannot tell
        is left. Raises NotDone and OutcomeUnknown when it is away."""
        if message.account_number in self.stopped:
            return False
        if not message.session or not self.is_told(message):
            return True
        try:
            found = self._settle(message)
        except (errors.NotDone, errors.OutcomeUnknown) as error:
            self.leave(message, message.session, str(error), is_known=False)
            self._count(error)
            return False
        except Exception as error:
            log.exception("mirror_message_poison", message=message.id)
            why = f"{type(error).__name__}: {error}"
            payload = self.payload(message)
            self.park(message, message.session, Failure.POISON, why, payload, is_known=False)
            return False
        self._count(None)
        crash_points.reach("mirror.to_legacy.settled")
        match found:
            case NotApplied():
                return True
            case Applied():
                if found.decision.row_id is not None:
                    self.rows[message.operation_id] = found.decision.row_id
                told = self.done(message, found.decision, message.session, note="It was there already.")
                self.end([told])
                return False
            case StillUnknown():
                self._keep_unknown(message, found)
                return False

    def _settle(self, message: Waiting) -> Settled:
        """Ask what became of an attempt. Raises NotDone, OutcomeUnknown and NotRepresentable."""
        request = decided.request_of(self.decided[message.operation_id], self.adapter, rows=self.rows)
        with sessions.session() as session:
            return giving.settle(
                self.adapter,
                session,
                request,
                known_row_id=message.bookmark,
                old_session=message.session,
                of_others=rows.taken,
            )

    def _keep_unknown(self, message: Waiting, found: StillUnknown) -> None:
        if found.is_final:
            evidence = {**self.payload(message), "found": dict(found.evidence)}
            self.park(message, message.session, Failure.DIVERGENCE, found.why, evidence, is_known=False)
        else:
            self.leave(message, message.session, found.why, is_known=False)

    # --- what becomes of a message ------------------------------------------------------------------------
    def payload(self, message: Waiting) -> dict[str, Any]:
        found = self.decided.get(message.operation_id)
        return {"operation_id": str(message.operation_id)} if found is None else decided.payload_of(found)

    def done(
        self, message: Waiting, decision: Decision | Exception | None, session: str, *, note: str = ""
    ) -> Done:
        found = self.decided[message.operation_id]
        assert not isinstance(decision, Exception)  # noqa: S101
        if decision is None:
            note = "Points lapse there by themselves."
        granted = found.touched[0].lot if found.kind == "earn" else None
        return Done(message=message, session=session, decision=decision, granted=granted, note=note)

    def end(self, done: Sequence[Done]) -> None:
        """End what was told, with what it shows of both sides; one that cannot be kept is parked."""
        if not done:
            return
        try:
            with transaction.atomic():
                settled = attempts.complete(done, is_durable=self.is_by_new_row)
                tied = {each.message_id: each.is_tied for each in settled}
                differences.compare(
                    [
                        (self.decided[each.message.operation_id], each.decision, tied[each.message.id])
                        for each in done
                        if each.decision is not None and each.message.id in tied
                    ]
                )
        except (IntegrityError, DataError) as error:
            if len(done) > 1:
                for each in done:
                    self.end([each])
                return
            why = f"It was told, and its outcome cannot be kept: {error}"
            message = done[0].message
            self.park(message, done[0].session, Failure.POISON, why, self.payload(message), is_known=False)
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


def _is_done(tried: chunks.Tried) -> bool:
    return not isinstance(tried.outcome, Exception)
