"""Many at once, each on a thread and a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import OperationalError, connections

from ledger import operations
from ledger.commands import Command
from ledger.database import fetch_all
from ledger.errors import Refusal
from ledger.records import Outcome
from ledger.verification import verify

Answer = TypeVar("Answer")
#: How long a busy machine may take: for a connection, for an answer, and for all of them.
PATIENCE_SECONDS = 120.0
TOGETHER_SECONDS = 300.0


def together(actions: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Start all `actions` at the same moment; their answers in order. Raises what one of them raised."""
    barrier = threading.Barrier(len(actions))
    answers: list[Any] = [None] * len(actions)
    failures: list[BaseException] = []

    def run(index: int, action: Callable[[], Answer]) -> None:
        try:
            patiently(connections["default"].ensure_connection)
            barrier.wait(PATIENCE_SECONDS)
            answers[index] = action()
        except BaseException as error:
            barrier.abort()
            failures.append(error)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=run, args=(index, action), daemon=True)
        for index, action in enumerate(actions)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + TOGETHER_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        # Whoever waited for the others only heard that one of them failed.
        raise next(
            (one for one in failures if not isinstance(one, threading.BrokenBarrierError)), failures[0]
        )
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    return answers


def most_at_once(wanted: int) -> int:
    """`wanted` connections, or as many as the server has left: one that the tests were given may have few."""
    ((free,),) = fetch_all(
        "SELECT current_setting('max_connections')::int - 10"
        " - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')"
    )
    assert free >= 20, "the server has no connections left"
    return int(min(wanted, free))


def may_be_sent_again(answer: Outcome | Refusal) -> bool:
    """Whether the answer says so itself (Retry-After): somebody was in the way, or the database did not
    answer in time. The same key is then still to be answered."""
    return isinstance(answer, Refusal) and answer.retry_after_seconds is not None


def answer_to(command: Command) -> Outcome | Refusal:
    """What a patient client gets: told that it may try again, it sends the same key again."""

    def send() -> list[Outcome | Refusal]:
        try:
            return [operations.execute(command)]
        except Refusal as refusal:
            return [refusal]

    (answer,) = _answered(send)
    return answer


def answers_to(commands: Sequence[Command]) -> list[Outcome | Refusal]:
    """The same for a batch: the whole of it is sent again until every item is answered."""
    return _answered(lambda: operations.execute_all(commands))


def _answered(send: Callable[[], list[Outcome | Refusal]]) -> list[Outcome | Refusal]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        answers = send()
        if not any(may_be_sent_again(answer) for answer in answers):
            return answers
        assert time.monotonic() < deadline, f"never answered: {codes(answers)}"
        _before_trying_again()


def patiently(action: Callable[[], Answer]) -> Answer:
    """Do `action` again when PostgreSQL was too busy for it: it may take no longer than a request waits."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action()
        except OperationalError:
            if time.monotonic() > deadline:
                raise
        _before_trying_again()


def _before_trying_again() -> None:
    # A session that PostgreSQL ended is not used again, as at the end of each request.
    connections["default"].close_if_unusable_or_obsolete()
    time.sleep(0.01)


def codes(answers: Sequence[Outcome | Refusal]) -> dict[str, int]:
    """How often each code came, "done" for an outcome."""
    counted: dict[str, int] = {}
    for answer in answers:
        code = answer.code if isinstance(answer, Refusal) else "done"
        counted[code] = counted.get(code, 0) + 1
    return counted


def assert_every_invariant_holds() -> None:
    report = verify(guards=False, cache=False)
    assert report.is_clean, "\n".join(breach.sentence() for breach in report.breaches)
