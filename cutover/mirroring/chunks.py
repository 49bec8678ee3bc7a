"""Some messages at once on their way to the legacy: noted in one commit, and given side by side.

Accounts are spread over the lanes, and within an account one call follows the other. Nothing of ours is
written here after the notes: what became of each message is the caller's to keep.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from cutover.mirroring import attempts, lanes, messages
from cutover.mirroring.messages import Waiting
from ledger import crash_points
from legacy_bridge import errors, giving, sessions
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.dialects import RaisedError
from legacy_bridge.records import Decision, Request

log = structlog.get_logger(__name__)

#: So many calls in a row without an answer mean that the legacy is away.
FAILURES_OF_ONE_CAUSE: Final = 3


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
    request_of: Callable[[Waiting], Request | None],
    tell_row: Callable[[Waiting, Decision], None],
) -> Given:
    """Give these to the legacy, those of one account in order, and nothing of it after one that failed.

    `request_of` is called when the turn of a message comes, after `tell_row` with what was done before it.
    Raises NotDone and OutcomeUnknown when the legacy does not answer before anything was noted.
    """
    work = _Work(adapter, request_of, tell_row)
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
    """The accounts of these, dealt out over the lanes."""
    number_of: dict[str, int] = {}
    spread: list[_Lane] = []
    for message in together:
        number = number_of.setdefault(message.account_number, len(number_of) % lanes.count())
        if number == len(spread):
            spread.append(_Lane([]))
        spread[number].messages.append(message)
    return spread


class _Work:
    """What a lane does."""

    def __init__(
        self,
        adapter: LegacyAdapter,
        request_of: Callable[[Waiting], Request | None],
        tell_row: Callable[[Waiting, Decision], None],
    ) -> None:
        self.adapter = adapter
        self.request_of = request_of
        self.tell_row = tell_row
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
        stopped: set[str] = set()
        failures = 0
        for message in lane.messages:
            if message.id not in self.noted:
                stopped.add(message.account_number)
            if message.account_number in stopped:
                continue
            if failures >= FAILURES_OF_ONE_CAUSE or time.monotonic() > self.stop_at:
                break
            tried = self._give(lane, message)
            if tried is None:
                break
            lane.tried.append(tried)
            if not isinstance(tried.outcome, Exception):
                failures = 0
                continue
            stopped.add(message.account_number)
            failures += is_away(tried.outcome)
            if isinstance(tried.outcome, errors.OutcomeUnknown):
                # Its session is given up, and so are the notes that name it.
                break

    def _give(self, lane: _Lane, message: Waiting) -> Tried | None:
        """None when the session is another than was noted: then nothing was given."""
        try:
            request = self.request_of(message)
        except Exception as error:
            return Tried(message, lane.session, error)
        if request is None:
            return Tried(message, lane.session, None)
        try:
            with sessions.session() as session:
                if session.identity != lane.session:
                    return None
                decision = giving.give(self.adapter, session, request)
        except errors.LegacyError as error:
            return Tried(message, lane.session, error)
        except Exception as error:
            # A mistake of ours stops one account, and may have come after the legacy had done it.
            log.exception("mirror_call_stumbled", message=message.id)
            return Tried(message, lane.session, errors.OutcomeUnknown(f"{type(error).__name__}: {error}"))
        crash_points.reach("mirror.to_legacy.told")
        self.tell_row(message, decision)
        return Tried(message, lane.session, decision)
