"""Calls that are slow, locked out, or too many."""

from __future__ import annotations

import threading
import time

import pytest

from legacy_bridge import sessions
from legacy_bridge.calling import call_procedure
from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown
from legacy_bridge.sessions import session
from tests.legacy_bridge.proxied import (
    GRACE_SECONDS,
    Beside,
    connecting_to,
    eventually,
    in_thread,
)
from tests.legacy_bridge.sessions.counter import (
    TIMEOUT,
    assert_usable,
    call,
    value,
)
from tests.tcp_proxy import Behaviour, TcpProxy


# --- slow -----------------------------------------------------------------------------------------------
def test_a_slow_statement_is_ended_by_the_server_and_was_not_done(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)

    with (
        pytest.raises(NotDone, match=r"statement timeout|max_statement_time"),
        session() as opened,
        opened.transaction(),
    ):
        call_procedure(opened, "add_slowly", [5.0])

    assert value(beside) == before
    assert_usable()
    # The connection lived on.
    assert proxy.connections == 1


def test_a_procedure_that_outlives_the_servers_timeout_is_cut_by_our_own(
    proxy: TcpProxy, beside: Beside
) -> None:
    """On MariaDB max_statement_time ends each statement of a procedure, never the CALL."""
    started = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        call("add_stubbornly", 2.0)

    assert TIMEOUT + GRACE_SECONDS <= time.monotonic() - started < TIMEOUT + GRACE_SECONDS + 0.6
    assert_usable()


def test_the_same_within_a_transaction_was_not_done(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)

    with pytest.raises(NotDone), session() as opened, opened.transaction():
        call_procedure(opened, "add_stubbornly", [2.0])

    beside.kill_others()
    eventually(lambda: value(beside) == before)
    assert_usable()


def test_a_server_that_swallows_everything_is_waited_for_no_longer(proxy: TcpProxy) -> None:
    assert_usable()
    started = time.monotonic()

    with proxy.behaving(Behaviour.SWALLOW_ANSWER), pytest.raises(OutcomeUnknown), session() as opened:
        opened.query("SELECT 1")

    assert time.monotonic() - started < TIMEOUT + GRACE_SECONDS + 0.6
    assert_usable()


def test_an_answer_that_is_late_within_the_limit_is_taken(proxy: TcpProxy) -> None:
    with session() as opened, proxy.behaving(Behaviour.DELAY, seconds=0.5):
        assert opened.query("SELECT 1") == [(1,)]


# --- locked out -----------------------------------------------------------------------------------------
def test_a_lock_that_is_not_to_be_had_is_busy(url: str, beside: Beside) -> None:
    before = value(beside)
    beside.run("BEGIN")
    beside.run("UPDATE counter SET value = value + 100 WHERE number = 1")

    # MariaDB waits for whole seconds only.
    with connecting_to(url, timeout_seconds=2.2 if "mysql" in url else 0.6):
        with pytest.raises(Busy):
            call("add_slowly")
        beside.run("ROLLBACK")
        assert value(beside) == before
        assert_usable()


def test_a_deadlock_is_busy(url: str, beside: Beside) -> None:
    beside.run("UPDATE counter SET value = 0")
    other = Beside(url)
    with connecting_to(url, timeout_seconds=5.0), session() as opened:
        busy = []
        try:
            with opened.transaction():
                opened.query("UPDATE counter SET value = 1 WHERE number = 1")
                other.run("BEGIN")
                other.run("UPDATE counter SET value = 2 WHERE number = 2")
                waiting = in_thread(lambda: other.run("UPDATE counter SET value = 2 WHERE number = 1"))
                time.sleep(0.3)
                opened.query("UPDATE counter SET value = 1 WHERE number = 2")
        except Busy as error:
            busy.append(error)
        other_lost = None
        try:
            waiting()
            other.run("COMMIT")
        except Exception as error:
            other_lost = error
    other.close()

    # Either server may choose its victim; whoever lost changed nothing.
    assert bool(busy) != bool(other_lost)
    assert {value(beside, 1), value(beside, 2)} == ({2} if busy else {1})


# --- how many at once -------------------------------------------------------------------------------------
def test_as_many_calls_as_may_be_are_under_way_and_no_more(url: str, settings: object) -> None:
    settings.POINTS_LEGACY_MOST_CALLS = 2
    sessions.forget()
    holding, release = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with session():
            holding.wait(10)
            release.wait(10)

    holders = [in_thread(hold), in_thread(hold)]
    holding.wait(10)
    started = time.monotonic()
    with pytest.raises(Busy), session():
        raise AssertionError("there is no place")
    assert time.monotonic() - started < 1.0
    release.set()
    for wait in holders:
        wait()
    assert_usable()
