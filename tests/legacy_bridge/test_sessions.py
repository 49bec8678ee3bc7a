"""Calls that are slow, locked out, refused, cut and killed, on real servers and through a real proxy."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from legacy_bridge import sessions
from legacy_bridge.calling import call_procedure
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown
from legacy_bridge.sessions import session
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase
from tests.legacy_bridge.proxied import (
    COMMIT,
    GRACE_SECONDS,
    Beside,
    behind_proxy,
    connecting_to,
    eventually,
    in_thread,
)
from tests.tcp_proxy import Behaviour, TcpProxy

TIMEOUT = 0.6

POSTGRESQL = """
CREATE TABLE counter (number int PRIMARY KEY, value int NOT NULL)
//
INSERT INTO counter VALUES (1, 0), (2, 0)
//
CREATE TABLE later (number int PRIMARY KEY, other int REFERENCES later DEFERRABLE INITIALLY DEFERRED)
//
CREATE PROCEDURE add_slowly(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    PERFORM pg_sleep(p_seconds);
END $$
//
CREATE PROCEDURE add_stubbornly(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    BEGIN
        PERFORM pg_sleep(p_seconds);
    EXCEPTION WHEN query_canceled THEN
        PERFORM pg_sleep(p_seconds);
    END;
END $$
//
CREATE PROCEDURE add_and_commit(p_seconds double precision) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    COMMIT;
    PERFORM pg_sleep(p_seconds);
END $$
"""
MARIADB = """
CREATE TABLE counter (number INT PRIMARY KEY, value INT NOT NULL) ENGINE = InnoDB
//
INSERT INTO counter VALUES (1, 0), (2, 0)
//
CREATE PROCEDURE add_slowly(IN p_seconds DOUBLE)
BEGIN
    UPDATE counter SET value = value + 1 WHERE number = 1;
    SELECT SLEEP(p_seconds);
END
//
CREATE PROCEDURE add_stubbornly(IN p_seconds DOUBLE)
BEGIN
    DECLARE v_turns INT DEFAULT 0;
    UPDATE counter SET value = value + 1 WHERE number = 1;
    WHILE v_turns < 10 * p_seconds DO
        DO SLEEP(0.1);
        SET v_turns = v_turns + 1;
    END WHILE;
END
//
CREATE PROCEDURE add_and_commit(IN p_seconds DOUBLE)
BEGIN
    START TRANSACTION;
    UPDATE counter SET value = value + 1 WHERE number = 1;
    COMMIT;
    SELECT SLEEP(p_seconds);
END
"""
SLEEP = {"postgresql": "SELECT pg_sleep(5)", "mysql": "SELECT SLEEP(5)"}


def _prepare_postgresql() -> None:
    with session() as opened:
        run_text(opened, POSTGRESQL)


def _prepare_mariadb() -> None:
    with session() as opened:
        run_text(opened, MARIADB)


@pytest.fixture(params=VENDORS)
def url(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> str:
    prepare = _prepare_postgresql if request.param == "postgresql" else _prepare_mariadb
    return legacy_database(request.param, prepare=prepare)


@pytest.fixture
def proxy(url: str) -> Iterator[TcpProxy]:
    with behind_proxy(url, timeout_seconds=TIMEOUT) as proxy:
        yield proxy


@pytest.fixture
def beside(url: str) -> Iterator[Beside]:
    beside = Beside(url)
    yield beside
    beside.close()


def value(beside: Beside, number: int = 1) -> int:
    return beside.run("SELECT value FROM counter WHERE number = %s", number)[0][0]


def assert_usable() -> None:
    with session() as opened:
        assert opened.query("SELECT 1") == [(1,)]


def call(name: str, seconds: float = 0.0) -> None:
    with session() as opened:
        call_procedure(opened, name, [seconds])


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


# --- refused, cut and killed ------------------------------------------------------------------------------
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
    _prepare_postgresql()

    with session() as opened:
        with pytest.raises(RaisedError) as raised, opened.transaction():
            opened.query("INSERT INTO later VALUES (1, 99)")
        assert opened.query("SELECT * FROM later") == []

    assert raised.value.constraint == "later_other_fkey"


# --- transactions -----------------------------------------------------------------------------------------
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


def test_a_procedure_that_commits_does_so_outside_of_a_transaction(proxy: TcpProxy, beside: Beside) -> None:
    before = value(beside)
    calling = in_thread(lambda: call("add_and_commit", 0.5))
    time.sleep(0.3)

    beside.kill_others()

    with pytest.raises(OutcomeUnknown):
        calling()
    assert value(beside) == before + 1


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


# --- who a session is, and ending it ------------------------------------------------------------------------
def test_two_sessions_never_have_the_same_name(url: str) -> None:
    with session() as opened:
        first, again = opened.identity, opened.identity
    with session() as opened:
        same = opened.identity
    other = in_thread(_identity)()
    sessions.forget()

    assert first == again == same
    assert len({first, other, _identity()}) == 3


def _identity() -> str:
    with session() as opened:
        return opened.identity


def test_an_old_session_is_ended_and_what_it_did_not_commit_is_undone(url: str, beside: Beside) -> None:
    before = value(beside)
    names: list[str] = []

    def work() -> None:
        with session() as opened:
            names.append(opened.identity)
            with opened.transaction():
                call_procedure(opened, "add_slowly", [0.0])
                opened.query(SLEEP[opened.vendor])

    working = in_thread(work)
    eventually(lambda: bool(names))
    time.sleep(0.2)
    with session() as opened:
        assert opened.dialect.end(opened.query, names[0])
        # Who is gone is gone.
        assert opened.dialect.end(opened.query, names[0])

    with pytest.raises(NotDone):
        working()
    assert value(beside) == before


def test_the_number_of_an_old_session_does_not_end_a_new_one(url: str) -> None:
    with session() as opened:
        number, _, rest = opened.identity.partition("|")
        if opened.vendor == "postgresql":
            earlier = f"{number}|2001-01-01 00:00:00+00"
        else:
            started, _, user = rest.partition("|")
            earlier = f"{number}|{int(started) - 1000}|{user}"

        assert opened.dialect.end(opened.query, earlier)
        assert opened.query("SELECT 1") == [(1,)]


def test_a_session_that_is_hidden_from_us_is_not_taken_for_gone(
    url: str, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another role may have made the call: before its password, or the role itself, was changed."""
    monkeypatch.setattr("legacy_bridge.dialects._END_SECONDS", 0.2)
    name = _identity()
    if beside.is_postgresql:
        with session() as opened:
            # As it looks to a role that sees of others no more than numbers.
            def query(statement: str, parameters: object = ()) -> list[tuple]:
                if "pg_terminate_backend" in statement:
                    raise RaisedError(sqlstate="42501", number=None, message="permission denied")
                return opened.query(statement.replace("pg_stat_activity", HIDDEN), parameters)

            assert not opened.dialect.end(query, name)
        return
    beside.run("CREATE OR REPLACE USER points_test_stranger IDENTIFIED BY 'stranger'")
    beside.run("GRANT SELECT ON *.* TO points_test_stranger")
    holding, release = threading.Event(), threading.Event()
    held: list[str] = []

    def hold() -> None:
        with session() as opened:
            held.append(opened.identity)
            holding.set()
            release.wait(10)

    holder = in_thread(hold)
    holding.wait(10)
    stranger_url = url.replace("//root@", "//points_test_stranger:stranger@")
    with connecting_to(stranger_url), session() as opened:
        assert not opened.dialect.end(opened.query, held[0])
    release.set()
    holder()
    beside.run("DROP USER points_test_stranger")


HIDDEN = "(SELECT pid, NULL::timestamptz AS backend_start FROM pg_stat_activity) AS hidden"
