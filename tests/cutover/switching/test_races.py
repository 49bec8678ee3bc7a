"""Switches among themselves, under load, and killed half way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from django.db import connections

from cutover import face, routes, switching
from cutover.models import JournalEntry, Member, Route
from cutover.switching import errors
from ledger.database import fetch_all
from ledger.errors import Refusal
from tests.cutover.legacy_calls import in_thread
from tests.factories import ClientFactory, EarnFactory, SpendFactory

pytestmark = pytest.mark.usefixtures("legacy_only")

RACES = 100
SWITCHES = 50
LOAD_THREADS = 4
WHO: dict[str, Any] = {"actor": "kim", "reason": "Back and forth."}


def test_of_two_operators_one_wins_and_the_other_is_told_who(
    make_cohort: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.01)
    cohort = make_cohort("NEW_ONLY")
    for race in range(RACES):
        route = routes.current(cohort)
        act = switching.rollback if route.stage == "NEW_ONLY" else switching.freeze
        if route.stage == "NEW_FIRST":
            act = switching.thaw if route.freeze_until else switching.freeze
        barrier = threading.Barrier(2)
        won, lost = _race(act, cohort, route.epoch, barrier)
        assert (len(won), len(lost)) == (1, 1), f"race {race}"
        assert f"{won[0]} was first" in lost[0]
        assert Route.objects.get(cohort=cohort).epoch == route.epoch + 1

    told = JournalEntry.objects.filter(cohort=cohort)
    assert told.filter(result="done").count() == RACES
    assert told.filter(result="refused", details__code="route_changed").count() == RACES


def _race(act: Any, cohort: str, epoch: int, barrier: threading.Barrier) -> tuple[list[str], list[str]]:
    won: list[str] = []
    lost: list[str] = []

    def run(actor: str) -> None:
        barrier.wait()
        more = {"settled_within_seconds": 0} if act is switching.freeze else {}
        try:
            act(cohort=cohort, actor=actor, reason="I was asked to.", expected_epoch=epoch, **more)
            won.append(actor)
        except errors.RouteChanged as changed:
            lost.append(str(changed))

    for wait in [in_thread(lambda actor=actor: run(actor)) for actor in ("kim", "lee")]:
        wait()
    return won, lost


@pytest.mark.slow
def test_nothing_is_decided_under_a_wrong_epoch_while_stages_go_back_and_forth(
    make_cohort: Any, with_members: Any, moved_history: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort("LEGACY_FIRST")
    moved_history()
    numbers = iter(with_members(cohort, 20_000))
    client_id = ClientFactory().id
    taken, done, slowest = threading.Lock(), [], [0.0]
    refused: dict[str, int] = {}
    is_over = threading.Event()

    def shop() -> None:
        """Earn and spend on one new account after the other. What was earned can be spent, or the account is
        held: never is a spend decided by a side that does not know of the earn."""
        while not is_over.is_set():
            with taken:
                number = next(numbers)
            mine = {"client_id": client_id, "account_number": number}
            for command in (
                EarnFactory(**mine, points=50),
                SpendFactory(**mine, points=random.randint(1, 9)),
            ):
                began_at = time.monotonic()
                try:
                    done.append(face.execute(command).operation.id)
                except Refusal as refusal:
                    refused[refusal.code] = refused.get(refusal.code, 0) + 1
                    break
                finally:
                    slowest[0] = max(slowest[0], time.monotonic() - began_at)
            time.sleep(0.05)

    waits = [in_thread(shop) for _ in range(LOAD_THREADS)]
    pauses = []
    try:
        for turn in range(SWITCHES):
            pauses.append(_switch(cohort, turn))
    finally:
        is_over.set()
        for wait in waits:
            wait()

    assert len(done) > 200
    assert refused.keys() <= {"account_held", "primary_unavailable"}
    stages = _stages_by_epoch(cohort, first="LEGACY_FIRST")
    decided = fetch_all(
        "SELECT id, stage, epoch FROM ledger_operation WHERE id = ANY (%s) AND NOT decided_elsewhere", [done]
    )
    given = fetch_all(
        "SELECT operation_id, stage, epoch FROM cutover_intent WHERE operation_id = ANY (%s)", [done]
    )
    assert len(decided) + len(given) == len(done)
    assert len(decided) > 50
    assert len(given) > 50
    assert [row for row in [*decided, *given] if stages[row[2]] != row[1]] == []
    assert {stage for _, stage, _ in decided} == {"NEW_FIRST"}
    assert {stage for _, stage, _ in given} == {"LEGACY_FIRST"}
    with capsys.disabled():
        pauses.sort()
        print(
            f"\n{SWITCHES} switches, {len(done)} operations ({len(given)} by the legacy); pause median "
            f"{pauses[len(pauses) // 2]:.0f} ms, longest {pauses[-1]:.0f} ms; slowest operation "
            f"{slowest[0] * 1000:.0f} ms; refused {refused}"
        )


def _switch(cohort: str, turn: int) -> float:
    """Go forward or back, again until it is drained; how long operations were kept waiting, in ms."""
    while True:
        try:
            if turn % 2:
                act = switching.rollback(cohort=cohort, **WHO).act
            else:
                act = switching.advance(cohort=cohort, overridden=("all",), **WHO).act
            return float(act.details["waited_ms"] + act.details["held_ms"])
        except errors.NotDrained:
            continue


def _stages_by_epoch(cohort: str, *, first: str) -> dict[int, str]:
    told = JournalEntry.objects.filter(cohort=cohort, result="done").values_list("epoch", "to_stage")
    return {1: first, **dict(told)}


@pytest.mark.parametrize(
    ("point", "is_after"),
    [
        ("switch.notice_given", False),
        ("switch.locked", False),
        ("switch.moved", False),
        ("switch.journaled", False),
        ("switch.committed", True),
    ],
)
def test_a_killed_switch_leaves_old_or_new(
    point: str, is_after: bool, make_cohort: Any, own_database: dict[str, str], legacy_url: str
) -> None:
    cohort = make_cohort("NEW_FIRST")
    kill_at(point, own_database, legacy_url, "rollback", "--cohort", cohort)
    route = Route.objects.get(cohort=cohort)
    told = list(JournalEntry.objects.filter(cohort=cohort).values_list("result", "epoch"))
    if is_after:
        assert (route.stage, route.epoch, told) == ("LEGACY_FIRST", 2, [("done", 2)])
    else:
        assert (route.stage, route.epoch, told) == ("NEW_FIRST", 1, [])
        # Nothing is left behind that would keep the next one from it.
        switching.rollback(cohort=cohort, **WHO)
        assert Route.objects.get(cohort=cohort).stage == "LEGACY_FIRST"
    connections["default"].close()


@pytest.mark.parametrize(
    ("point", "is_after"), [("assign.locked", False), ("assign.moved", False), ("assign.committed", True)]
)
def test_a_killed_assignment_leaves_each_account_in_one_cohort_and_goes_on(
    point: str,
    is_after: bool,
    make_cohort: Any,
    with_members: Any,
    own_database: dict[str, str],
    legacy_url: str,
) -> None:
    source = make_cohort("NEW_FIRST")
    to = f"{source}-k"
    numbers = with_members(source, 3)
    named = [f"--account={number}" for number in numbers]
    kill_at(point, own_database, legacy_url, "assign", "--cohort", source, "--to", to, *named)

    of_cohort = dict(
        Member.objects.filter(account_number__in=numbers).values_list("account_number", "cohort")
    )
    told = JournalEntry.objects.filter(cohort__in=[source, to], result="done")
    assert of_cohort == dict.fromkeys(numbers, to if is_after else source)
    assert told.count() == (2 if is_after else 0)
    # Whoever held it is dead; its lease ends by itself.
    fetch_all("UPDATE cutover_run SET leased_until = clock_timestamp() WHERE finished_at IS NULL")
    switching.assign(cohort=source, to=to, choice=switching.Choice(accounts=tuple(numbers)), **WHO)
    assert Member.objects.filter(cohort=to).count() == 3
    connections["default"].close()


def kill_at(point: str, database: dict[str, str], legacy_url: str, *arguments: str) -> None:
    """Run the command in a process of its own, which kills itself there."""
    from pointsystem.embedded.stack import ROOT

    environment = {
        **os.environ,
        **database,
        "LEGACY_DATABASE_URL": legacy_url,
        "POINTS_STACK": "test",
        "POINTS_CRASH_POINT": f"{point}:1",
    }
    command = [sys.executable, str(ROOT / "manage.py"), "cutover", *arguments]
    killed = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
