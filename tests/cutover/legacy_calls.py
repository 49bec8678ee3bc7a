"""What tests of the cutover do to the legacy past the API, and to the calls that the API makes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from legacy_bridge import errors, giving, sessions
from legacy_bridge.calling import Out, call_procedure

_ANSWER = (Out(),) * 6


class Killed(BaseException):
    """Ends a call where a kill would have: nothing of ours catches it."""


def call_directly(procedure: str, account_number: str, *arguments: Any, reference: str | None = None) -> int:
    """Call a procedure of the reference legacy as services did before there was an API; the row it made."""
    with sessions.session() as session:
        told = [reference, None, "SHOP"]
        code, message, row, *_ = call_procedure(
            session, f"legacy.{procedure}", [account_number, *arguments, *told, *_ANSWER]
        )
    assert code == "S", message
    return int(row)


def rows_of(account_number: str) -> list[tuple[str, int, str | None]]:
    """Kind, points and our id of each row that the legacy has of an account, oldest first."""
    with sessions.session() as session:
        return [
            (kind, points, None if request is None else str(request))
            for kind, points, request in session.query(
                "SELECT HIST_CD, AMT, REQ_ID FROM legacy.PT_HIST WHERE MBR_NO = %s ORDER BY HIST_SEQ",
                [account_number],
            )
        ]


def lose_answer(patch: pytest.MonkeyPatch, *, done: bool, error: BaseException | None = None) -> None:
    """The next call is done or not, and nobody hears of it."""

    def lost(*arguments: Any) -> Any:
        if done:
            give(*arguments)
        raise error or errors.OutcomeUnknown("The answer was lost.")

    give = instead_of_next_give(patch, lost)


def instead_of_next_give(patch: pytest.MonkeyPatch, does: Callable[..., Any]) -> Callable[..., Any]:
    """The next operation that is given to the legacy goes to `does`; the real one, for it to call."""
    real = giving.give

    def once(*arguments: Any) -> Any:
        patch.setattr(giving, "give", real)
        return does(*arguments)

    patch.setattr(giving, "give", once)
    return real


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start `work` on connections of its own; the answer waits for its end, and raises what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except Exception as error:
            outcome.append((None, error))
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(30)
        assert outcome, "the thread did not end"
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    return wait
