"""Some messages are told as one transaction of the legacy: what fails takes no other with it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cutover import face
from cutover.mirroring import chunks, to_legacy
from cutover.models import MirrorMessage
from legacy_bridge import errors, giving, sessions
from legacy_bridge.dialects import RaisedError
from tests.cutover import sides
from tests.cutover.legacy_calls import call_directly, in_thread, rows_of
from tests.cutover.mirroring.telling import differences_of, make_due, message_of, states_of, tell
from tests.factories import EarnFactory, SpendFactory, account_number


def transactions_of(number: str) -> list[str]:
    """By which transaction of the legacy each row of an account was made."""
    with sessions.session() as session:
        return [
            made_by
            for (made_by,) in session.query(
                "SELECT xmin::text FROM legacy.PT_HIST WHERE MBR_NO = %s ORDER BY HIST_SEQ", [number]
            )
        ]


def messages_of(*numbers: str) -> list[MirrorMessage]:
    return list(MirrorMessage.objects.filter(account_number__in=numbers))


@pytest.fixture
def lane(mine: dict[str, Any]) -> list[str]:
    """Accounts, in their order, of which the first and the last are told by the same lane."""
    numbers = sorted(account_number() for _ in range(4))
    for number in numbers:
        face.execute(EarnFactory(client_id=mine["client_id"], account_number=number, points=10))
    return numbers


def test_what_waits_on_accounts_of_a_lane_is_one_transaction(lane: list[str]) -> None:
    assert to_legacy.tell(lane) == 4

    first, second, _, last = (transactions_of(number) for number in lane)
    assert first == last
    assert first != second


def test_no_more_than_so_many_are_one_transaction(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    for _ in range(5):
        face.execute(EarnFactory(**mine, points=10))
    monkeypatch.setattr(chunks, "_TOGETHER", 2)

    assert tell(number) == 5

    one, two, three, four, five = transactions_of(number)
    assert (one == two, two == three, three == four, four == five) == (True, False, True, False)


def test_none_is_begun_when_the_first_is_long_ago(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    for _ in range(3):
        face.execute(EarnFactory(**mine, points=10))
    monkeypatch.setattr(chunks, "_TOGETHER_SECONDS", 0.0)

    assert tell(number) == 3

    assert len(set(transactions_of(number))) == 3


def test_one_that_is_refused_in_the_middle_stops_its_account_and_no_other(
    mine: dict[str, Any], lane: list[str]
) -> None:
    client, first, last = mine["client_id"], lane[0], lane[3]
    to_legacy.tell(lane)
    # Somebody took points through a procedure, and nobody has seen it yet.
    call_directly("PR_POINT_USE", first, "21", 8)
    refused = face.execute(SpendFactory(client_id=client, account_number=first, points=5)).operation
    behind = face.execute(EarnFactory(client_id=client, account_number=first, points=7)).operation
    face.execute(SpendFactory(client_id=client, account_number=last, points=4))

    assert to_legacy.tell(lane) == 1

    assert (message_of(refused.id).state, message_of(refused.id).failure) == ("parked", "divergence")
    assert message_of(refused.id).attempts == 2
    assert (message_of(behind.id).state, message_of(behind.id).session) == ("waiting", "")
    assert [points for _, points, _ in rows_of(first)] == [10, -8]
    assert [points for _, points, _ in rows_of(last)] == [10, -4]
    sides.assert_equal(last)


def test_a_refusal_behind_others_of_its_account_leaves_those_done(mine: dict[str, Any]) -> None:
    number = mine["account_number"]
    face.execute(EarnFactory(**mine, points=10))
    tell(number)
    call_directly("PR_POINT_USE", number, "21", 10)
    face.execute(EarnFactory(**mine, points=3))
    refused = face.execute(SpendFactory(**mine, points=9)).operation

    assert tell(number) == 1

    assert states_of(number) == ["applied", "applied", "parked"]
    assert differences_of(number) == [("real", f"operation:{refused.id}", False)]
    assert [points for _, points, _ in rows_of(number)] == [10, -10, 3]


def test_one_at_which_the_legacy_fails_is_left_and_the_others_are_told(
    mine: dict[str, Any], lane: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give = giving.give

    def fails(adapter: Any, session: Any, request: Any) -> Any:
        if request.account_number == lane[3]:
            raise RaisedError(sqlstate="22012", number=0, message="division by zero")
        return give(adapter, session, request)

    monkeypatch.setattr(giving, "give", fails)

    assert to_legacy.tell(lane) == 3

    assert [states_of(number) for number in lane] == [["applied"]] * 3 + [["waiting"]]
    assert [len(rows_of(number)) for number in lane] == [1, 1, 1, 0]


def test_a_mistake_within_leaves_all_of_it_to_be_asked_for(
    lane: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give = giving.give

    def stumbles(adapter: Any, session: Any, request: Any) -> Any:
        give(adapter, session, request)
        if request.account_number == lane[3]:
            raise ValueError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", stumbles)
        patch.setattr(chunks, "_keep_row", lambda *_: None)
        patch.setattr(to_legacy._Round, "end", lambda *_: None)
        to_legacy.tell(lane)

    assert [states_of(number) for number in (lane[0], lane[3])] == [["waiting"]] * 2
    assert [rows_of(number) for number in (lane[0], lane[3])] == [[], []]
    with_session = [message.session != "" for message in messages_of(lane[0], lane[3])]
    assert with_session == [True, True]


def test_a_lost_commit_is_one_failure_and_each_is_asked_for(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = mine["account_number"]
    for _ in range(5):
        face.execute(EarnFactory(**mine, points=10))
    commit = sessions.Session._commit

    def lost(self: Any) -> None:
        commit(self)
        monkeypatch.setattr(sessions.Session, "_commit", commit)
        raise errors.OutcomeUnknown("The answer was lost.")

    monkeypatch.setattr(sessions.Session, "_commit", lost)

    # It does not raise: five messages of one COMMIT are no legacy that is away.
    assert tell(number) == 0

    assert [points for _, points, _ in rows_of(number)] == [10] * 5
    make_due(number)
    assert tell(number) == 5
    assert states_of(number) == ["applied"] * 5
    assert {message.note for message in messages_of(number)} == {"It was there already."}
    assert [points for _, points, _ in rows_of(number)] == [10] * 5


def test_a_direct_caller_that_locks_in_another_order_is_not_the_victim(
    mine: dict[str, Any], lane: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = lane[0], lane[3]
    to_legacy.tell(lane)
    for number in lane:
        face.execute(EarnFactory(client_id=mine["client_id"], account_number=number, points=5))
    holds_last, is_told_first = threading.Event(), threading.Event()

    give = giving.give

    def give_and_tell(adapter: Any, session: Any, request: Any) -> Any:
        decision = give(adapter, session, request)
        if request.account_number == first:
            is_told_first.set()
        return decision

    def call_both() -> None:
        with sessions.session() as session, session.transaction():
            lock = "SELECT MBR_NO FROM legacy.PT_MBR WHERE MBR_NO = %s FOR UPDATE"
            session.query(lock, [last])
            holds_last.set()
            assert is_told_first.wait(10)
            # The worker holds this one now, and wants the other.
            session.query(lock, [first])

    monkeypatch.setattr(giving, "give", give_and_tell)
    wait = in_thread(call_both)
    assert holds_last.wait(10)

    assert to_legacy.tell(lane) == 4
    wait()

    assert [points for _, points, _ in rows_of(first)] == [10, 5]
    assert [points for _, points, _ in rows_of(last)] == [10, 5]
    assert states_of(first) == states_of(last) == ["applied", "applied"]
