"""Many at once, each on a thread and a connection of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db import connections

from ledger import operations
from ledger.commands import Command
from ledger.errors import AccountBusy, OperationInProgress, Refusal
from ledger.records import Outcome
from ledger.verification import verify

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 120.0


def together(actions: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Start all `actions` at the same moment; their answers in order. Raises what one of them raised."""
    barrier = threading.Barrier(len(actions))
    answers: list[Any] = [None] * len(actions)
    failures: list[BaseException] = []

    def run(index: int, action: Callable[[], Answer]) -> None:
        try:
            connections["default"].ensure_connection()
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
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    return answers


def answer_to(command: Command) -> Outcome | Refusal:
    """What a patient client gets: told that somebody else is in the way, it sends the same key again."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return operations.execute(command)
        except (AccountBusy, OperationInProgress):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        except Refusal as refusal:
            return refusal


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
