"""Some messages at once on their way to the legacy: noted in one commit, and given side by side.

Accounts are spread over the lanes, and within an account one call follows the other. Where the legacy can
be asked for each by itself, a lane gives some of them as one transaction (`giving.together`): all of them are
done, or none, and then each is given by itself. Nothing of ours is written here after the notes: what became
of each message is the caller's to keep.
"""

import time
from collections import ChainMap
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

from cutover.mirroring import attempts, lanes, messages
from cutover.mirroring.messages import Waiting
from ledger import crash_points
from legacy_bridge import errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.dialects import RaisedError
from legacy_bridge.records import Decision, Request
from legacy_bridge.sessions import Session

log = structlog.get_logger(__name__)

#: So many calls in a row without an answer mean that the legacy is away.
FAILURES_OF_ONE_CAUSE: Final = 3
#: Calls of one transaction, which keeps the locks of all their accounts: no more than this, and none is begun
#: when the first is so long ago.
_TOGETHER: Final = 32
_TOGETHER_SECONDS: Final = 0.1

#: What the legacy is asked to do, None where nothing has to be told; by the rows that it made a moment ago.
RequestOf = Callable[[Waiting, Mapping[UUID, str]], Request | None]


@dataclass(frozen=True, slots=True)
class Tried:
    """A message, the session that its attempt is noted with, and what came of it: what the legacy did, None
    where nothing had to be told, or why it was not done."""

    message: Waiting
    session: str
    outcome: Decision | Exception | None


@dataclass(slots=True)
class Given:
    """What became of some messages."""

    tried: list[Tried] = field(default_factory=list)
    #: Noted with a session, and not given.
    left: list[tuple[Waiting, str]] = field(default_factory=list)
    #: Accounts that another worker has taken up.
    taken: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Lane:
    messages: list[Waiting]
    session: str = ""
    bookmarks: list[str | None] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    #: Accounts on which something failed.
    stopped: set[str] = field(default_factory=set)
    #: Calls in a row without an answer.
    failures: int = 0
    #: The session is another than was noted, or its last call is still unknown.
    is_over: bool = False

    def keep(self, tried: Tried) -> None:
        self.tried.append(tried)
        if not isinstance(tried.outcome, Exception):
            self.failures = 0
            return
        self.stopped.add(tried.message.account_number)
        self.failures += is_away(tried.outcome)
        # Its session is given up, and so are the notes that name it.
        self.is_over = self.is_over or isinstance(tried.outcome, errors.OutcomeUnknown)


def is_own_trouble(error: Exception) -> bool:
    """Whether the legacy answers, and fails at this one operation."""
    return isinstance(error, RaisedError) or isinstance(error.__cause__, errors.AnswerInvalid)


def is_away(error: Exception) -> bool:
    """Whether the legacy may be away for everybody."""
    if isinstance(error, errors.Busy) or is_own_trouble(error):
        return False
    return isinstance(error, errors.NotDone | errors.OutcomeUnknown)


def give(
    adapter: LegacyAdapter,
    together: Sequence[Waiting],
    *,
    request_of: RequestOf,
    rows: MutableMapping[UUID, str],
) -> Given:
    """Give these to the legacy, those of one account in order, and nothing of it after one that failed.

    `request_of` is called when the turn of a message comes; `rows`, by operation, gets what the legacy made.
    Raises NotDone and OutcomeUnknown when the legacy does not answer before anything was noted.
    """
    work = _Work(adapter, request_of, rows)
    spread = _spread(together)
    lanes.run([lambda lane=lane: work.begin(lane) for lane in spread])  # type: ignore[misc]
    noted = attempts.note(
        [message for lane in spread for message in lane.messages],
        sessions=[lane.session for lane in spread for _ in lane.messages],
        bookmarks=[bookmark for lane in spread for bookmark in lane.bookmarks],
    )
    crash_points.reach("mirror.to_legacy.noted")
    work.noted = noted
    lanes.run([lambda lane=lane: work.give_all(lane) for lane in spread])  # type: ignore[misc]
    given = Given(tried=[each for lane in spread for each in lane.tried])
    tried = {each.message.id for each in given.tried}
    for lane in spread:
        for message in lane.messages:
            if message.id not in noted:
                given.taken.add(message.account_number)
            elif message.id not in tried:
                given.left.append((message, lane.session))
    return given


def _spread(together: Sequence[Waiting]) -> list[_Lane]:
    """The accounts of these, dealt out over the lanes, in one order: whoever locks some of them at once does
    so in that order, and nobody in another."""
    number_of: dict[str, int] = {}
    spread: list[_Lane] = []
    for message in sorted(together, key=lambda message: (message.account_number, message.id)):
        number = number_of.setdefault(message.account_number, len(number_of) % lanes.count())
        if number == len(spread):
            spread.append(_Lane([]))
        spread[number].messages.append(message)
    return spread


class _Work:
    """What a lane does."""

    def __init__(
        self, adapter: LegacyAdapter, request_of: RequestOf, rows: MutableMapping[UUID, str]
    ) -> None:
        self.adapter = adapter
        self.request_of = request_of
        self.rows = rows
        self.noted: set[int] = set()
        self.stop_at = time.monotonic() + messages.LEASE_SECONDS / 2

    def begin(self, lane: _Lane) -> None:
        """What must be known before the notes: who calls, and how the accounts stand."""
        with sessions.session() as session:
            lane.session = session.identity
            lane.bookmarks = [
                giving.bookmark(self.adapter, session, account_number=message.account_number)
                for message in lane.messages
            ]

    def give_all(self, lane: _Lane) -> None:
        waiting: list[Waiting] = []
        for message in lane.messages:
            if message.id not in self.noted:
                lane.stopped.add(message.account_number)
            elif message.account_number not in lane.stopped:
                waiting.append(message)
        lane.stopped.clear()
        while waiting and self._goes_on(lane):
            waiting = [message for message in waiting if message.account_number not in lane.stopped]
            some = waiting[:_TOGETHER]
            done = self._give_together(lane, some) if len(some) > 1 else 0
            waiting = waiting[done or len(some) :]
            for message in some if not done else ():
                if message.account_number not in lane.stopped and self._goes_on(lane):
                    self._give(lane, message)

    def _goes_on(self, lane: _Lane) -> bool:
        has_failed = lane.failures >= FAILURES_OF_ONE_CAUSE
        return not (lane.is_over or has_failed or time.monotonic() > self.stop_at)

    def _give_together(self, lane: _Lane, some: Sequence[Waiting]) -> int:
        """Give as one transaction as many of these as the time allows; how many. None: nothing was done, for
        certain, and each that is still to be given is given by itself."""
        tried: list[Tried] = []
        rows: ChainMap[UUID, str] = ChainMap({}, self.rows)
        at = some[0]
        try:
            with sessions.session() as session:
                if session.identity != lane.session or not giving.may_be_together(self.adapter, session):
                    return 0
                stop_at = time.monotonic() + _TOGETHER_SECONDS
                with giving.together(session):
                    for at in some:
                        if tried and time.monotonic() > stop_at:
                            break
                        tried.append(self._call(session, at, rows))
                        crash_points.reach("mirror.to_legacy.called")
        except errors.OutcomeUnknown as error:
            # Whether it was committed. Each is asked for by itself.
            tried = [Tried(each.message, lane.session, error) for each in tried]
        except errors.LegacyError as error:
            log.info("mirror_calls_taken_back", calls=len(tried), error=str(error)[:500])
            if is_away(error):
                lane.keep(Tried(at, lane.session, error))
            return 0
        except Exception as error:
            log.exception("mirror_calls_stumbled", message=at.id)
            unknown = errors.OutcomeUnknown(f"{type(error).__name__}: {error}")
            under_way = [*(each.message for each in tried), at]
            tried = [Tried(message, lane.session, unknown) for message in dict.fromkeys(under_way)]
        else:
            self.rows.update(rows.maps[0])
        for each in tried:
            crash_points.reach("mirror.to_legacy.told")
            lane.keep(each)
        return len(tried)

    def _call(self, session: Session, message: Waiting, rows: MutableMapping[UUID, str]) -> Tried:
        """One call among others. Raises what `giving.give` does."""
        try:
            request = self.request_of(message, rows)
        except Exception as error:
            # Said again when it is given by itself, and then left to a person.
            raise errors.NotRepresentable(f"{type(error).__name__}: {error}") from error
        if request is None:
            return Tried(message, session.identity, None)
        decision = giving.give(self.adapter, session, request)
        _keep_row(rows, message, decision)
        return Tried(message, session.identity, decision)

    def _give(self, lane: _Lane, message: Waiting) -> None:
        """One call by itself. Nothing is given when the session is another than was noted."""
        try:
            request = self.request_of(message, self.rows)
        except Exception as error:
            lane.keep(Tried(message, lane.session, error))
            return
        if request is None:
            lane.keep(Tried(message, lane.session, None))
            return
        try:
            with sessions.session() as session:
                if session.identity != lane.session:
                    lane.is_over = True
                    return
                decision = giving.give(self.adapter, session, request)
        except errors.LegacyError as error:
            lane.keep(Tried(message, lane.session, error))
            return
        except Exception as error:
            # A mistake of ours stops one account, and may have come after the legacy had done it.
            log.exception("mirror_call_stumbled", message=message.id)
            unknown = errors.OutcomeUnknown(f"{type(error).__name__}: {error}")
            lane.keep(Tried(message, lane.session, unknown))
            return
        crash_points.reach("mirror.to_legacy.told")
        _keep_row(self.rows, message, decision)
        lane.keep(Tried(message, lane.session, decision))


def _keep_row(rows: MutableMapping[UUID, str], message: Waiting, decision: Decision) -> None:
    if decision.row_id is not None:
        rows[message.operation_id] = decision.row_id
