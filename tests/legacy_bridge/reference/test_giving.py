"""Giving operations to the reference legacy, and finding out what became of them, by their id."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest


def test_an_operation_that_was_done_is_found(reference: Any) -> None:
    from legacy_bridge.giving import settle
    from legacy_bridge.records import Applied, NotApplied
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    member = Member(reference)
    member.earn(70)
    request = member.spend_request(50)
    with session() as opened:
        old = opened.identity
        assert settle(reference, opened, request, known_row_id=None, old_session=old) == NotApplied()

    decision = member.spend(50, operation_id=request.operation_id)

    with session() as opened:
        found = settle(reference, opened, request, known_row_id=None, old_session=opened.identity)
    assert found == Applied(decision=decision)
    assert member.available == 20


def test_an_id_of_another_member_is_no_proof(reference: Any) -> None:
    from legacy_bridge.giving import settle
    from legacy_bridge.records import StillUnknown
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    request = Member(reference).spend_request(50)
    other = Member(reference)
    other.earn(50)
    other.spend(50, operation_id=request.operation_id)

    with session() as opened:
        found = settle(reference, opened, request, known_row_id=None, old_session=opened.identity)
    assert isinstance(found, StillUnknown)
    assert found.is_final


def test_a_call_that_waits_in_vain_leaves_nothing(reference: Any) -> None:
    """The member is locked by somebody else for longer than the server lets a call wait."""
    from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown
    from legacy_bridge.giving import settle
    from legacy_bridge.records import NotApplied
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member

    member = Member(reference)
    member.earn(100)
    before = member.trace()
    request = member.spend_request(50)
    is_locked, may_end = threading.Event(), threading.Event()
    query = f"SELECT 1 FROM {reference.schema}PT_MBR WHERE MBR_NO = '{member.number}' FOR UPDATE"
    holder = threading.Thread(target=_hold, args=(query, is_locked, may_end))
    holder.start()
    try:
        assert is_locked.wait(10)
        with session() as opened:
            old = opened.identity
        with pytest.raises((Busy, NotDone, OutcomeUnknown)):
            member.spend(50, operation_id=request.operation_id)
    finally:
        may_end.set()
        holder.join()

    with session() as opened:
        assert settle(reference, opened, request, known_row_id=None, old_session=old) == NotApplied()
    # The connection did not keep half of it: the next call begins anew.
    assert member.trace() == before
    assert member.spend(100).balance_after == 0


def _hold(query: str, is_locked: threading.Event, may_end: threading.Event) -> None:
    from legacy_bridge import sessions

    with sessions.session(timeout_seconds=30) as opened, opened.transaction():
        opened.query(query)
        is_locked.set()
        may_end.wait(20)
    sessions.forget()


def test_twenty_spenders_never_take_more_than_there_is(reference: Any, settings: Any) -> None:
    from legacy_bridge import sessions
    from tests.legacy_bridge.reference.member import Member, refused

    settings.POINTS_LEGACY_MOST_CALLS = 20
    sessions.forget()
    member = Member(reference)
    for points in range(1, 11):
        member.earn(points * 10)

    answers: list[Any] = []
    start = threading.Barrier(20)

    def spend() -> None:
        start.wait()
        for _ in range(5):
            answers.append(refused(member.spend, 7))
        with suppress(Exception):
            sessions.forget()

    with ThreadPoolExecutor(20) as pool:
        for future in [pool.submit(spend) for _ in range(20)]:
            future.result()

    assert len(answers) == 100
    assert answers.count(None) == 550 // 7
    assert member.available == 550 % 7
    balances = [balance for kind, _, balance in member.story if kind == "spend"]
    assert balances == list(range(543, 0, -7))
    assert sum(member.remaining) == 550 % 7


def test_one_operation_sent_by_many_at_once_is_done_once(reference: Any, settings: Any) -> None:
    from legacy_bridge import sessions
    from tests.legacy_bridge.reference.member import Member

    settings.POINTS_LEGACY_MOST_CALLS = 10
    sessions.forget()
    member = Member(reference)
    operation_id = uuid4()

    def earn() -> Any:
        decision = member.earn(10, operation_id=operation_id)
        # Each thread has its own connection, which nobody else closes.
        sessions.forget()
        return decision

    with ThreadPoolExecutor(10) as pool:
        decisions = [future.result() for future in [pool.submit(earn) for _ in range(10)]]

    assert len({decision.row_id for decision in decisions}) == 1
    assert member.story == [("earn", 10, 10)]


def test_a_call_that_the_server_ends_halfway_leaves_nothing(reference: Any) -> None:
    """Ended behind its first insert, where a procedure that commits by itself has a transaction open."""
    from django.db import connections

    from legacy_bridge import sessions
    from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown
    from legacy_bridge.giving import settle
    from legacy_bridge.records import NotApplied
    from tests.legacy_bridge.reference.member import Member

    options = connections["legacy"].settings_dict["OPTIONS"]
    key = "options" if "options" in options else "init_command"
    options[key] = {
        "options": "-c statement_timeout=1000 -c lock_timeout=0",
        "init_command": "SET SESSION max_statement_time = 1, innodb_lock_wait_timeout = 30",
    }[key]
    sessions.forget()
    member = Member(reference)
    (lot,) = member.earn(100).shares or ()
    request = member.spend_request(50)
    is_locked, may_end = threading.Event(), threading.Event()
    query = f"SELECT 1 FROM {reference.schema}PT_LOT WHERE LOT_SEQ = {lot.lot_id} FOR UPDATE"
    holder = threading.Thread(target=_hold, args=(query, is_locked, may_end))
    holder.start()
    try:
        assert is_locked.wait(10)
        with sessions.session() as opened:
            old = opened.identity
        with pytest.raises((Busy, NotDone, OutcomeUnknown)):
            member.spend(50, operation_id=request.operation_id)
    finally:
        may_end.set()
        holder.join()

    # The next call of this connection must not commit what was begun there.
    assert member.spend(10).balance_after == 90
    assert [points for _, points, _ in member.story] == [100, -10]
    with sessions.session() as opened:
        assert settle(reference, opened, request, known_row_id=None, old_session=old) == NotApplied()
