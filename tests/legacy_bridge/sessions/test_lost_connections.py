"""Servers that refuse, hang, cut and kill."""

from __future__ import annotations

import time

import pytest

from legacy_bridge import sessions
from legacy_bridge.calling import call_procedure
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import NotDone, OutcomeUnknown
from legacy_bridge.sessions import session
from tests.legacy_bridge.proxied import (
    COMMIT,
    Beside,
    eventually,
    in_thread,
)
from tests.legacy_bridge.sessions.counter import (
    assert_usable,
    call,
    prepare_postgresql,
    value,
)
from tests.tcp_proxy import Behaviour, TcpProxy


def test_a_server_that_refuses_connections_did_nothing(proxy: TcpProxy) -> None:
    with proxy.behaving(Behaviour.REFUSE), pytest.raises(NotDone), session():
        raise AssertionError("there is no session")

    assert_usable()


def test_a_server_that_hangs_at_connecting_did_nothing(proxy: TcpProxy) -> None:
    started = time.monotonic()

    with proxy.behaving(Behaviour.SWALLOW_REQUEST), pytest.raises(NotDone), session():
        raise AssertionError("there is no session")

    assert time.monotonic() - started < 5.0
    assert_usable()


@pytest.mark.parametrize("rested_seconds", [0.0, 0.4], ids=["at once", "after a rest"])
def test_a_connection_killed_between_calls_is_replaced_unseen(
    proxy: TcpProxy, beside: Beside, rested_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_TRUSTED_SECONDS", 0.3)
    assert_usable()
    beside.kill_others()
    time.sleep(0.1 + rested_seconds)

    assert_usable()

    assert proxy.connections == 2


def test_a_connection_killed_during_a_call_is_unknown(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)
    calling = in_thread(lambda: call("add_slowly", 0.5))
    time.sleep(0.3)

    beside.kill_others()

    with pytest.raises(OutcomeUnknown):
        calling()
    # PostgreSQL does one statement whole or not at all; MariaDB had committed the first of the procedure's.
    assert value(beside) == before + (0 if beside.is_postgresql else 1)
    assert_usable()


def test_a_connection_killed_in_a_transaction_was_not_done(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)

    with session() as opened, pytest.raises(NotDone), opened.transaction():  # noqa: PT012
        call_procedure(opened, "add_slowly", [0.0])
        beside.kill_others()
        opened.query("SELECT 1")

    assert value(beside) == before
    assert_usable()


@pytest.mark.parametrize(
    ("behaviour", "was_committed"),
    [
        (Behaviour.CUT_BEFORE_FORWARD, False),
        (Behaviour.CUT_BEFORE_ANSWER, True),
        (Behaviour.SWALLOW_ANSWER, True),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_a_connection_lost_during_commit_is_unknown(
    proxy: TcpProxy, beside: Beside, behaviour: Behaviour, was_committed: bool
) -> None:
    before = value(beside)
    proxy.behave(behaviour, when=COMMIT["postgresql" if beside.is_postgresql else "mysql"], times=1)

    with pytest.raises(OutcomeUnknown), session() as opened, opened.transaction():
        call_procedure(opened, "add_slowly", [0.0])

    assert proxy.was_met()
    eventually(lambda: value(beside) == before + was_committed)
    proxy.behave(Behaviour.PASS)
    assert_usable()


@pytest.mark.parametrize(
    ("behaviour", "was_done"),
    [
        (Behaviour.CUT_BEFORE_FORWARD, False),
        (Behaviour.CUT_BEFORE_ANSWER, True),
        (Behaviour.SWALLOW_REQUEST, False),
        (Behaviour.SWALLOW_ANSWER, True),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_an_answer_lost_outside_of_a_transaction_is_unknown(
    proxy: TcpProxy, beside: Beside, behaviour: Behaviour, was_done: bool
) -> None:
    before = value(beside)
    proxy.behave(behaviour, when=b"add_slowly", times=1)

    with pytest.raises(OutcomeUnknown):
        call("add_slowly")

    assert proxy.was_met()
    eventually(lambda: value(beside) == before + was_done)
    proxy.behave(Behaviour.PASS)
    assert_usable()


def test_a_constraint_that_speaks_at_commit_was_not_done(legacy_postgres: str) -> None:
    prepare_postgresql()

    with session() as opened:
        with pytest.raises(RaisedError) as raised, opened.transaction():
            opened.query("INSERT INTO later VALUES (1, 99)")
        assert opened.query("SELECT * FROM later") == []

    assert raised.value.constraint == "later_other_fkey"
