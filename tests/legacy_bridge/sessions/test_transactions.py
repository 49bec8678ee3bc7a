"""What is kept, what is taken back, and what a procedure does against it."""

from __future__ import annotations

import time

import pytest

from legacy_bridge.calling import call_procedure
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import OutcomeUnknown
from legacy_bridge.sessions import session
from tests.legacy_bridge.proxied import (
    Beside,
    in_thread,
)
from tests.legacy_bridge.sessions.counter import (
    call,
    value,
)
from tests.tcp_proxy import TcpProxy


def test_a_transaction_is_kept_or_taken_back_whole(url: str, beside: Beside) -> None:
    before = value(beside)

    with session() as opened:
        with opened.transaction(), opened.transaction():
            call_procedure(opened, "add_slowly", [0.0])
        assert value(beside) == before + 1
        with pytest.raises(ZeroDivisionError), opened.transaction():  # noqa: PT012
            call_procedure(opened, "add_slowly", [0.0])
            raise ZeroDivisionError
        # Outside of a transaction each statement stands for itself again.
        call_procedure(opened, "add_slowly", [0.0])

    assert value(beside) == before + 2


def test_a_procedure_that_commits_is_refused_or_noticed_in_a_transaction(url: str, beside: Beside) -> None:
    before = value(beside)

    with session() as opened:
        if opened.vendor == "postgresql":
            with pytest.raises(RaisedError) as raised, opened.transaction():
                call_procedure(opened, "add_and_commit", [0.0])
            assert raised.value.sqlstate == "2D000"
        else:
            with opened.transaction():
                call_procedure(opened, "add_and_commit", [0.0])
                assert opened.was_committed_inside
            with opened.transaction():
                call_procedure(opened, "add_slowly", [0.0])
                assert not opened.was_committed_inside
                opened._database.rollback()

    assert value(beside) == before + (0 if beside.is_postgresql else 1)


def test_what_a_failing_procedure_leaves_open_is_never_committed(url: str, beside: Beside) -> None:
    before = value(beside)

    with session() as opened:
        if opened.vendor == "postgresql":
            pytest.skip("a procedure of PostgreSQL cannot leave a transaction open")
        for _ in range(2):
            with pytest.raises(RaisedError, match="left open"):
                call_procedure(opened, "add_and_leave_open", [])
        with opened.transaction():
            call_procedure(opened, "add_slowly", [0.0])

    assert value(beside) == before + 1


def test_a_procedure_that_commits_does_so_outside_of_a_transaction(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)
    calling = in_thread(lambda: call("add_and_commit", 0.5))
    time.sleep(0.3)

    beside.kill_others()

    with pytest.raises(OutcomeUnknown):
        calling()
    assert value(beside) == before + 1
