"""Giving an operation to a legacy, losing its answer, and finding out what became of it: in three ways."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest

from legacy_bridge import giving, marker
from legacy_bridge.adapter import Feature, LegacyAdapter, Settling
from legacy_bridge.calling import call_function, call_procedure, one, select_function
from legacy_bridge.errors import Busy, NotDone, NotRepresentable, OutcomeUnknown, Refused
from legacy_bridge.records import (
    Applied,
    Decision,
    EarnRequest,
    LegacyBalance,
    NotApplied,
    Request,
    Settled,
    Share,
    SpendRequest,
    StillUnknown,
)
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters import exceptions, signals, status_strings
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.proxied import COMMIT, Beside, behind_proxy
from tests.legacy_bridge.requests import cancel, earn, new_account, spend
from tests.tcp_proxy import Behaviour, TcpProxy

TIMEOUT = 1.0

BY_ID = """
CREATE TABLE kept (
    id uuid PRIMARY KEY, account text NOT NULL, points int NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY, at timestamptz NOT NULL DEFAULT now()
)
//
CREATE FUNCTION keep(p_id uuid, p_account text, p_points int, OUT number bigint, OUT at timestamptz)
    LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext(p_account));
    INSERT INTO kept (id, account, points) VALUES (p_id, p_account, p_points) RETURNING number, at $$
"""


class ById(LegacyAdapter):
    """The shortest legacy there is: its function takes our id."""

    settling = Settling.BY_ID

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        arguments = [request.operation_id, request.account_number, request.points]
        number, at = one(select_function(session, "keep", arguments))
        return Decision(row_id=str(number), points=request.points, recorded_at=at)

    def spend(self, session: Session, request: SpendRequest) -> Decision:
        arguments = [request.operation_id, request.account_number, -request.points]
        number, at = one(select_function(session, "keep", arguments))
        return Decision(row_id=str(number), points=request.points, recorded_at=at)

    def balance(self, session: Session, *, account_number: str, expiring_before: datetime) -> LegacyBalance:
        rows = session.query("SELECT coalesce(sum(points), 0) FROM kept WHERE account = %s", [account_number])
        return LegacyBalance(available=int(one(rows)[0]))

    def find_by_operation_id(
        self, session: Session, *, operation_id: uuid.UUID, account_number: str
    ) -> Decision | None:
        rows = session.query("SELECT number, points, at FROM kept WHERE id = %s", [operation_id])
        return (
            Decision(row_id=str(rows[0][0]), points=abs(rows[0][1]), recorded_at=rows[0][2]) if rows else None
        )


def _install_by_id() -> None:
    with session() as opened:
        run_text(opened, BY_ID)


def _installs(module: ModuleType) -> Callable[[], None]:
    def install() -> None:
        with session() as opened:
            module.install(opened)

    return install


#: name: (server, what makes the legacy, the adapter, what the request of the call looks like on the wire)
LEGACIES: dict[str, tuple[str, Callable[[], None], type[LegacyAdapter], bytes]] = {
    "by id": ("postgresql", _install_by_id, ById, b"keep("),
    "by marker on PostgreSQL": ("postgresql", _installs(exceptions), exceptions.Adapter, b"loyalty.earn("),
    "by marker on MariaDB": ("mariadb", _installs(status_strings), status_strings.Adapter, b"CALL p_grant("),
    "by new row": ("mariadb", _installs(signals), signals.Adapter, b"CALL accrue("),
}


@dataclasses.dataclass
class Case:
    adapter: LegacyAdapter
    proxy: TcpProxy
    beside: Beside
    call: bytes

    @property
    def commit(self) -> bytes:
        return COMMIT["postgresql" if self.beside.is_postgresql else "mysql"]

    def give(self, request: Request) -> tuple[Exception | Decision, str | None, str]:
        """What came of it, the bookmark from before, and the session that made the call."""
        with session() as opened:
            known = giving.bookmark(self.adapter, opened, account_number=request.account_number)
            name = opened.identity
            try:
                return giving.give(self.adapter, opened, request), known, name
            except Exception as error:
                return error, known, name

    def settle(self, request: Request, known: str | None, old_session: str) -> Settled:
        with session() as opened:
            return giving.settle(self.adapter, opened, request, known_row_id=known, old_session=old_session)

    def available(self, account: str) -> int:
        with session() as opened:
            now = datetime.now(UTC)
            return self.adapter.balance(opened, account_number=account, expiring_before=now).available


def _case(legacy_database: LegacyDatabase, name: str) -> Iterator[Case]:
    vendor, install, adapter, call = LEGACIES[name]
    url = legacy_database(vendor, prepare=install)
    with behind_proxy(url, timeout_seconds=TIMEOUT) as proxy:
        beside = Beside(url)
        yield Case(adapter(), proxy, beside, call)
        beside.close()


@pytest.fixture(params=LEGACIES)
def case(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> Iterator[Case]:
    yield from _case(legacy_database, request.param)


@pytest.fixture
def new_row(legacy_database: LegacyDatabase) -> Iterator[Case]:
    yield from _case(legacy_database, "by new row")


# --- the answer is lost -----------------------------------------------------------------------------------
def test_an_operation_that_was_done_is_found(case: Case) -> None:
    request = earn(new_account(), 40)
    last = case.call if case.adapter.settling is not Settling.BY_MARKER else case.commit
    case.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=last, times=1)

    error, known, old_session = case.give(request)
    settled = case.settle(request, known, old_session)

    assert isinstance(error, OutcomeUnknown)
    assert isinstance(settled, Applied)
    assert settled.decision.points == 40
    assert case.available(request.account_number) == 40
    # And again, as a recoverer may that was killed before it wrote that down.
    assert case.settle(request, known, old_session) == settled


def test_an_operation_that_was_not_done_is_given_again_under_its_id(case: Case) -> None:
    request = earn(new_account(), 40)
    last = case.call if case.adapter.settling is not Settling.BY_MARKER else case.commit
    case.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=last, times=1)

    error, known, old_session = case.give(request)
    settled = case.settle(request, known, old_session)

    assert isinstance(error, OutcomeUnknown)
    assert settled == NotApplied()
    assert case.available(request.account_number) == 0
    decision, known, old_session = case.give(request)
    assert isinstance(decision, Decision)
    settled = case.settle(request, known, old_session)
    assert isinstance(settled, Applied)
    assert (settled.decision.row_id, settled.decision.points) == (decision.row_id, 40)
    assert case.available(request.account_number) == 40


@pytest.mark.parametrize("case", [name for name in LEGACIES if "marker" in name], indirect=True)
def test_a_call_lost_before_the_commit_was_not_done(case: Case) -> None:
    request = earn(new_account(), 40)
    case.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=case.call, times=1)

    error, known, old_session = case.give(request)

    assert isinstance(error, NotDone)
    assert case.settle(request, known, old_session) == NotApplied()
    assert case.available(request.account_number) == 0


LOCKING = {
    "by id": "SELECT pg_advisory_xact_lock(hashtext(%s))",
    "by marker on PostgreSQL": "SELECT * FROM loyalty.member WHERE member_no = %s FOR UPDATE",
    "by marker on MariaDB": "SELECT * FROM wallet WHERE member = %s FOR UPDATE",
    "by new row": "SELECT * FROM card WHERE card_no = %s FOR UPDATE",
}


def test_a_call_that_still_runs_is_ended_before_its_absence_counts(
    case: Case, request: pytest.FixtureRequest
) -> None:
    """The network is gone, the server has not noticed, and the procedure waits for a lock there."""
    account = new_account()
    assert isinstance(case.give(earn(account, 1))[0], Decision)
    name = next(name for name in LEGACIES if name in request.node.name)
    case.beside.run("BEGIN")
    case.beside.run(LOCKING[name], account)
    lost = earn(account, 40)
    case.proxy.behave(Behaviour.CUT_AFTER_FORWARD, when=case.call, times=1, server_is_told=False)

    error, known, old_session = case.give(lost)
    assert isinstance(error, OutcomeUnknown | NotDone)
    settled = case.settle(lost, known, old_session)

    # Released from its lock, it would now be done, had its session not been ended.
    case.beside.run("COMMIT")
    time.sleep(0.1)
    assert settled == NotApplied()
    assert case.available(account) == 1


def test_while_the_old_session_cannot_be_ended_absence_is_no_answer(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = earn(new_account(), 40)
    with session() as opened:
        dialect = type(opened.dialect)
    monkeypatch.setattr(dialect, "end", lambda *_: False)

    settled = case.settle(request, None, "another|session|0")

    assert isinstance(settled, StillUnknown)
    assert not settled.is_final


def test_a_call_that_goes_on_in_its_session_proves_nothing_by_a_row_without_our_id(
    new_row: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row may be a direct caller's, with ours still to come."""
    request = earn(new_account(), 40)
    new_row.beside.run("CALL accrue(%s, 40, 10, NULL)", request.account_number)
    with session() as opened:
        monkeypatch.setattr(type(opened.dialect), "end", lambda *_: False)

    settled = new_row.settle(request, None, "another|session|0")

    assert isinstance(settled, StillUnknown)
    assert not settled.is_final


def test_the_same_id_cannot_be_marked_twice(case: Case) -> None:
    """Even a recoverer that gave it again too early would do nothing twice, but for a legacy without ids."""
    request = earn(new_account(), 40)

    first, _, _ = case.give(request)
    second, _, _ = case.give(request)

    assert isinstance(first, Decision)
    if case.adapter.settling is Settling.BY_NEW_ROW:
        assert isinstance(second, Decision)
    else:
        assert isinstance(second, NotDone)
        assert case.available(request.account_number) == 40


def test_nothing_is_given_while_the_legacy_is_away(case: Case) -> None:
    with case.proxy.behaving(Behaviour.REFUSE), pytest.raises(NotDone):
        case.give(earn(new_account()))


def test_a_locked_account_is_busy_and_nothing_is_kept(legacy_database: LegacyDatabase) -> None:
    url = legacy_database("postgresql", prepare=LEGACIES["by marker on PostgreSQL"][1])
    adapter, account = exceptions.Adapter(), new_account()
    with behind_proxy(url, timeout_seconds=TIMEOUT), session() as opened:
        giving.give(adapter, opened, earn(account, 10))
        beside = Beside(url)
        beside.run("BEGIN")
        beside.run("SELECT * FROM loyalty.member WHERE member_no = %s FOR UPDATE", account)

        with pytest.raises(Busy):
            giving.give(adapter, opened, request := spend(account, 4))

        beside.close()
        assert marker.find(opened, operation_id=request.operation_id) is None


# --- no id of ours: the row that is new -------------------------------------------------------------------
def test_a_direct_callers_row_beside_ours_is_told_apart_by_what_both_tell(new_row: Case) -> None:
    request = earn(new_account(), 40, reference="ORDER-7")
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    for points, reference in ((40, "ORDER-8"), (40, None), (41, "ORDER-7")):
        new_row.beside.run("CALL accrue(%s, %s, 10, %s)", request.account_number, points, reference)
    new_row.beside.run("CALL redeem(%s, 40, 20, 'ORDER-7')", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, Applied)
    assert settled.decision.balance_after == 40
    assert settled.decision.points == 40


def test_only_a_direct_callers_row_is_not_ours(new_row: Case) -> None:
    request = earn(new_account(), 40, reference="ORDER-7")
    new_row.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 40, 10, 'ORDER-8')", request.account_number)

    assert new_row.settle(request, known, old_session) == NotApplied()


def test_two_rows_that_match_are_for_a_person_to_decide(new_row: Case) -> None:
    request = earn(new_account(), 40)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=new_row.call, times=1)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 40, 10, 'ORDER-8')", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final
    assert len(settled.evidence["row_ids"]) == 2


def test_a_row_from_before_the_call_never_matches(new_row: Case) -> None:
    account = new_account()
    new_row.beside.run("CALL accrue(%s, 40, 10, NULL)", account)
    request = earn(account, 40)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=new_row.call, times=1)

    _, known, old_session = new_row.give(request)

    assert known is not None
    assert new_row.settle(request, known, old_session) == NotApplied()


def test_too_many_new_rows_are_for_a_person_to_decide(new_row: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving, "_NEW_ROWS_LOOKED_AT", 2)
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("CALL accrue(%s, 1, 10, NULL)", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final


def test_a_lost_cancel_is_found_by_what_it_cancels(new_row: Case) -> None:
    account = new_account()
    new_row.give(earn(account, 50))
    first, second = (new_row.give(spend(account, 20))[0] for _ in range(2))
    request = cancel(account, first.row_id, 20)
    new_row.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=b"CALL redeem_cancel(", times=1)
    _, known, old_session = new_row.give(request)
    new_row.give(cancel(account, second.row_id, 20))

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, Applied)
    assert settled.decision.balance_after == 30


def test_an_error_of_a_procedure_that_commits_by_itself_is_unknown(new_row: Case) -> None:
    request = earn(new_account(), 40, reason="EVENT")
    new_row.beside.run("RENAME TABLE log_lot TO log_lot_away")
    try:
        error, known, old_session = new_row.give(request)
    finally:
        new_row.beside.run("RENAME TABLE log_lot_away TO log_lot")

    assert isinstance(error, OutcomeUnknown)
    assert new_row.settle(request, known, old_session) == NotApplied()


# --- garbage ----------------------------------------------------------------------------------------------
def spoilt(adapter: type[LegacyAdapter], **changed: Any) -> LegacyAdapter:
    """The adapter, but its decisions say something else (or what is given as `decision`)."""

    class Spoilt(adapter):
        def earn(self, session: Session, request: EarnRequest) -> Any:
            decision = super().earn(session, request)
            if "decision" in changed:
                return changed["decision"]
            if "raises" in changed:
                raise changed["raises"]
            return dataclasses.replace(decision, **changed)

    return Spoilt()


NOW = datetime(2026, 1, 1, tzinfo=UTC)
GARBAGE: list[dict[str, Any]] = [
    {"decision": None},
    {"decision": (1, 2)},
    {"points": None},
    {"points": -40},
    {"points": "40"},
    {"points": 40.0},
    {"points": 41},
    {"balance_after": -1},
    {"balance_after": "many"},
    {"balance_after": True},
    {"account_number": "somebody else"},
    {"row_id": ""},
    {"row_id": 7},
    {"recorded_at": None},
    {"recorded_at": NOW.replace(tzinfo=None)},
    {"recorded_at": datetime.now(UTC) + timedelta(days=3)},
    {"shares": (Share(lot_id="1", points=39, expires_at=None),)},
    {
        "shares": (
            Share(lot_id="1", points=41, expires_at=None),
            Share(lot_id="2", points=-1, expires_at=None),
        )
    },
    {"shares": (Share(lot_id="", points=40, expires_at=None),)},
    {"raises": AttributeError("'NoneType' object has no attribute 'astimezone'")},
    {"raises": ZeroDivisionError("division by zero")},
    {"raises": RuntimeError("whatever")},
]


def _named(changed: dict[str, Any]) -> str:
    return " ".join(map(str, changed.items()))[:40]


@pytest.mark.parametrize("changed", GARBAGE, ids=_named)
def test_an_answer_that_cannot_be_true_is_kept_nowhere_with_the_marker(
    legacy_database: LegacyDatabase, changed: dict[str, Any]
) -> None:
    for name in ("by marker on PostgreSQL", "by marker on MariaDB"):
        vendor, install, adapter, _ = LEGACIES[name]
        legacy_database(vendor, prepare=install)
        request = earn(new_account(), 40)
        with session() as opened:
            with pytest.raises(NotDone, match="cannot be true"):
                giving.give(spoilt(adapter, **changed), opened, request)

            assert marker.find(opened, operation_id=request.operation_id) is None
            balance = adapter().balance(
                opened, account_number=request.account_number, expiring_before=datetime.now(UTC)
            )
            assert balance.available == 0


@pytest.mark.parametrize(
    "changed", GARBAGE[::4], ids=lambda changed: " ".join(map(str, changed.items()))[:40]
)
def test_an_answer_that_cannot_be_true_is_unknown_where_it_was_kept(
    legacy_database: LegacyDatabase, changed: dict[str, Any]
) -> None:
    for name in ("by id", "by new row"):
        vendor, install, adapter, _ = LEGACIES[name]
        legacy_database(vendor, prepare=install)
        request = earn(new_account(), 40)
        with session() as opened:
            known = giving.bookmark(adapter(), opened, account_number=request.account_number)
            old_session = opened.identity
        with session() as opened, pytest.raises(OutcomeUnknown, match="cannot be true"):
            giving.give(spoilt(adapter, **changed), opened, request)

        with session() as opened:
            settled = giving.settle(adapter(), opened, request, known_row_id=known, old_session=old_session)
        assert isinstance(settled, Applied)


def test_garbage_found_when_settling_is_for_a_person_to_decide(new_row: Case) -> None:
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    new_row.beside.run("UPDATE log SET balance = -5 WHERE card_no = %s", request.account_number)

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final


def test_another_accounts_row_found_when_settling_is_for_a_person_to_decide(
    new_row: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = earn(new_account(), 40)
    _, known, old_session = new_row.give(request)
    read = signals.Adapter.rows_after
    monkeypatch.setattr(
        signals.Adapter,
        "rows_after",
        lambda *given, **named: [
            dataclasses.replace(row, account_number="somebody else") for row in read(*given, **named)
        ],
    )

    settled = new_row.settle(request, known, old_session)

    assert isinstance(settled, StillUnknown)
    assert settled.is_final


# --- adapters that do not say the truth ---------------------------------------------------------------------
COMMITTING = """
CREATE PROCEDURE grant_and_commit(IN p_member CHAR(36), IN p_points BIGINT, OUT p_result VARCHAR(10))
BEGIN
    DECLARE v_id CHAR(36);
    DECLARE v_balance BIGINT;
    DECLARE v_at DATETIME(6);
    CALL p_grant(p_member, p_points, 'EVENT', NULL, v_id, v_balance, v_at, p_result);
    COMMIT;
END
"""


class Denying(status_strings.Adapter):
    """Its procedure commits, and it says that it does not."""

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        from legacy_bridge.calling import Out

        call_procedure(session, "grant_and_commit", [request.account_number, request.points, Out()])
        return Decision(row_id=None, points=request.points, recorded_at=datetime.now(UTC))


def test_a_procedure_that_commits_against_its_adapters_word_never_passes(legacy_mariadb: str) -> None:
    request = earn(new_account(), 40)
    with session() as opened:
        status_strings.install(opened)
        run_text(opened, COMMITTING)
        old_session = opened.identity

        with pytest.raises(OutcomeUnknown, match="which its adapter denies"):
            giving.give(Denying(), opened, request)

    with session() as opened:
        settled = giving.settle(Denying(), opened, request, known_row_id=None, old_session=old_session)
    assert isinstance(settled, Applied)


class TwoStatements(ById):
    """It reads on after the function: what was done is done, whatever happens to that."""

    def earn(self, session: Session, request: EarnRequest) -> Decision:
        decision = super().earn(session, request)
        call_function(session, "is_not_there", [1])
        return decision


def test_an_error_after_the_statement_that_did_it_is_unknown(legacy_postgres: str) -> None:
    _install_by_id()
    request = earn(new_account(), 40)
    with session() as opened, pytest.raises(OutcomeUnknown):
        giving.give(TwoStatements(), opened, request)

    with session() as opened:
        gone = opened.identity
        settled = giving.settle(ById(), opened, request, known_row_id=None, old_session=gone)
    assert isinstance(settled, Applied)


@pytest.mark.parametrize(
    ("declared", "complaint"),
    [
        ({"settling": Settling.BY_ID}, "no find_by_operation_id"),
        ({"settling": Settling.BY_MARKER, "commits_itself": True}, "do not commit"),
        ({"settling": None}, "does not say"),
        ({"settling": Settling.BY_NEW_ROW, "last_row_id": LegacyAdapter.last_row_id}, "no last_row_id"),
        ({"features": frozenset({Feature.ALL_LOTS})}, "without lots"),
        ({"features": frozenset({Feature.LOTS}), "lots": LegacyAdapter.lots}, "no lots"),
    ],
)
def test_declarations_that_contradict_each_other_are_refused(
    declared: dict[str, Any], complaint: str
) -> None:
    contradicting = type("Contradicting", (signals.Adapter,), {"commits_itself": False, **declared})

    with pytest.raises(TypeError, match=complaint):
        contradicting()


def test_what_was_not_declared_never_reaches_the_legacy() -> None:
    class Reading(ById):
        features = frozenset({Feature.HISTORY})
        history = signals.Adapter.history

    for request in (earn("A1"), spend("A1"), cancel("A1", "1", 5)):
        with pytest.raises(NotRepresentable), session_that_must_not_be_used() as nothing:
            giving.give(Reading(), nothing, request)


class session_that_must_not_be_used:  # noqa: N801
    def __enter__(self) -> Any:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def test_a_refusal_leaves_no_marker(legacy_database: LegacyDatabase) -> None:
    for name in ("by marker on PostgreSQL", "by marker on MariaDB"):
        vendor, install, adapter, _ = LEGACIES[name]
        legacy_database(vendor, prepare=install)
        request = spend(new_account(), 40)
        with session() as opened:
            with pytest.raises(Refused):
                giving.give(adapter(), opened, request)
            assert marker.find(opened, operation_id=request.operation_id) is None


def test_the_marker_keeps_the_whole_decision(legacy_database: LegacyDatabase) -> None:
    decision = Decision(
        row_id="7",
        points=5,
        recorded_at=NOW,
        balance_after=9,
        shares=(
            Share(lot_id="1", points=2, expires_at=NOW),
            Share(lot_id="2", points=3, expires_at=None),
        ),
    )
    for vendor in ("postgresql", "mariadb"):
        legacy_database(vendor)
        with session() as opened:
            marker.create(opened)
            marker.create(opened)
            first, second = uuid.uuid4(), uuid.uuid4()
            marker.put(opened, operation_id=first, decision=decision)
            marker.put(opened, operation_id=second, decision=Decision(row_id=None, points=1, recorded_at=NOW))

            assert marker.find(opened, operation_id=first) == decision
            assert marker.find(opened, operation_id=second).shares is None
            assert marker.find(opened, operation_id=uuid.uuid4()) is None


def test_many_lots_fit_into_a_marker(legacy_mariadb: str) -> None:
    shares = tuple(Share(lot_id=str(number), points=1, expires_at=NOW) for number in range(5000))
    with session() as opened:
        marker.create(opened)
        decision = Decision(row_id="1", points=5000, recorded_at=NOW, shares=shares)
        marker.put(opened, operation_id=(number := uuid.uuid4()), decision=decision)

        assert marker.find(opened, operation_id=number) == decision
