"""Which session made a call, and whether it is gone."""

from __future__ import annotations

import threading
import time

import pytest

from legacy_bridge import sessions
from legacy_bridge.calling import call_procedure
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import NotDone
from legacy_bridge.sessions import session
from tests.legacy_bridge.proxied import (
    Beside,
    connecting_to,
    eventually,
    in_thread,
)
from tests.legacy_bridge.sessions.counter import (
    SLEEP,
    value,
)


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
    try:
        with connecting_to(stranger_url), session() as opened:
            assert not opened.dialect.end(opened.query, held[0])
    finally:
        release.set()
        holder()
        beside.run("DROP USER points_test_stranger")
    # Who may see every session can tell that it is gone, whoever made it.
    with session() as opened:
        number, started, _ = held[0].split("|")
        eventually(lambda: opened.dialect.end(opened.query, f"{number}|{started}|1"))


HIDDEN = "(SELECT pid, NULL::timestamptz AS backend_start FROM pg_stat_activity) AS hidden"
