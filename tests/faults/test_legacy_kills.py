"""Processes are killed, and answers of the legacy lost at random, while it decides: nothing is lost, and
nothing is done twice. What the clients wrote down is counted against the legacy's own rows.

`--kills N` loses N times as many answers and kills N times as often (docs/operating/testing.md).
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pointsystem.embedded.processes import Supervisor
from pointsystem.embedded.stack import ROOT, Processes
from tests.faults.client_log import ClientLog
from tests.faults.legacies import KINDS, Asked, Product, UnderWay, skip_unless_thorough
from tests.faults.shop import Shop
from tests.faults.test_kills import children_of, kill
from tests.legacy_bridge.proxied import eventually
from tests.tcp_proxy import Behaviour

pytestmark = pytest.mark.usefixtures("quiet")

#: Those in which clients cancel spends in parts: one takes our id, the other none.
TWO_KINDS = [kind for kind in KINDS if kind.name in ("by-id-postgresql", "by-new-row")]
POINTS = ("legacy.intent_open", "legacy.decided", "legacy.outcome_kept")
on_two_kinds = pytest.mark.parametrize("product", TWO_KINDS, indirect=True, ids=lambda kind: kind.name)
on_new_row = pytest.mark.parametrize("product", TWO_KINDS[1:], indirect=True, ids=lambda kind: kind.name)


# --- answers are lost ---------------------------------------------------------------------------------------
class Lost(Asked):
    """An operation whose answer was lost after it was applied, or before."""

    was_applied: bool = False
    operation_id: str = ""


def lose_one(product: Product, rng: random.Random, number: int) -> Lost | None:
    """One operation that meets a fault; None when the fault met somebody else's request."""
    lost = Lost(product.new_account(), 1000 + number)
    if product.kind.keeps_spends and rng.random() < 0.4:
        assert product.ask(Asked(lost.account, 5000)).status == 201
        lost.verb = "spend"
    applied = [Behaviour.CUT_BEFORE_ANSWER] * 9 + [Behaviour.SWALLOW_ANSWER]
    behaviour = rng.choice(applied) if number % 2 else Behaviour.CUT_BEFORE_FORWARD
    # The account stands first in the call. Its COMMIT tells nothing of whose it is.
    when = product.last if product.kind.is_by_marker else f"('{lost.account}'".encode()
    product.proxy.behave(behaviour, when=when, times=1)
    answer = product.ask(lost)
    if answer.status == 201:
        return None
    assert (answer.status, answer.code) == (503, "outcome_unknown"), answer
    lost.was_applied = behaviour is not Behaviour.CUT_BEFORE_FORWARD
    lost.operation_id = answer.body["operation_id"]
    return lost


def test_a_storm_of_lost_answers_is_settled_to_the_last(
    product: Product, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(product.kind.name)
    wanted = 5 * request.config.getoption("--kills")
    all_lost: list[Lost] = []
    number = 0
    while len(all_lost) < wanted:
        number += 1
        assert number < 4 * wanted + 20, "hardly any request met its fault"
        if lost := lose_one(product, rng, number):
            all_lost.append(lost)
    product.proxy.behave(Behaviour.PASS)

    answers = {lost.key: product.until_settled(lost, seconds=90) for lost in all_lost}

    for lost in all_lost:
        sign = -1 if lost.verb == "spend" else 1
        opening = [5000] if lost.verb == "spend" else []
        assert product.legacy_rows(lost.account) == [*opening, sign * lost.points], lost
        answer = answers[lost.key]
        assert (answer.status, answer.is_replayed, answer.body["id"]) == (201, True, lost.operation_id)
        ((operation, intent, attempts, by),) = product.noted(lost.key)
        assert (operation, intent, by) == ("completed", "done", "recoverer"), lost
        # What was applied is never given again, and what was not is.
        assert (attempts == 1) is lost.was_applied, (lost, attempts)
    ages = sorted(age for (age,) in product.wrapped.query(_AGES, [[lost.operation_id for lost in all_lost]]))
    print(
        f"\n{product.kind.name}: {len(all_lost)} answers lost, {sum(lost.was_applied for lost in all_lost)}"
        f" of them applied; settled all, after {ages[len(ages) // 2]:.1f} s (p50),"
        f" {ages[len(ages) * 99 // 100]:.1f} s (p99)"
    )
    assert ages[-1] < 60


@on_new_row
def test_the_count_shows_what_a_blind_retry_does(product: Product) -> None:
    """The control of this file: a legacy that denies what it did is called twice, and that is seen."""
    asked = Asked(f"blind-{product.new_account()}"[:20], 40)
    product.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=product.last, times=1)
    assert product.ask(asked).code == "outcome_unknown"
    product.proxy.behave(Behaviour.PASS)

    assert product.until_settled(asked).status == 201

    with pytest.raises(AssertionError):
        product.did_once(asked)
    assert product.legacy_rows(asked.account) == [40, 40]


_AGES = """
SELECT extract(epoch FROM settled_at - opened_at)::float8 FROM cutover_intent
WHERE operation_id = ANY (%s::uuid[])
"""


# --- killed at named places ---------------------------------------------------------------------------------
@contextmanager
def web_that_dies_at(product: Product, point: str, directory: Path) -> Iterator[str]:
    """The URL of another web server of `product`, whose processes kill themselves at `point`."""
    directory.mkdir()
    supervisor = Supervisor(say=lambda text: None)
    environment = {**product.wrapped.environment, "POINTS_CRASH_POINT": f"{point}:1"}
    processes = Processes(environment=environment, directory=directory, supervisor=supervisor)
    child, url = processes.start_web()
    try:
        yield url
    finally:
        # One that is just starting a process anew would take long to end in order.
        supervisor._stopping.set()
        for pid in [child.pid, *children_of(child.pid)]:
            kill(pid)
        supervisor.stop()


@contextmanager
def stopped_recoverer(product: Product) -> Iterator[None]:
    """For a while nobody asks the workers to settle, and none does what it was asked a moment ago."""
    children = [child for child in product.wrapped._supervisor.children if child.name != "web"]
    beat = next(child for child in children if child.name == "beat")
    os.kill(beat.pid, signal.SIGSTOP)
    # What is under way ends.
    time.sleep(0.5)
    stopped = [beat.pid, *(pid for child in children for pid in (child.pid, *children_of(child.pid)))]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


SETTLE = "import django; django.setup(); from cutover import settling; settling.settle_due()"


def settle_until_killed(product: Product) -> int:
    """Settle in a process that kills itself before it gives an operation again; how it ended."""
    environment = {
        **product.wrapped.environment,
        "POINTS_CRASH_POINT": "legacy.given_again:1",
        "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
    }
    return subprocess.run([sys.executable, "-c", SETTLE], env=environment, cwd=ROOT, check=False).returncode


@on_two_kinds
def test_a_process_that_dies_at_any_point_leaves_one_outcome(
    product: Product, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    skip_unless_thorough(request, product, quick="by-new-row")
    killed: dict[str, Asked] = {}
    for point in POINTS:
        killed[point] = Asked(product.new_account(), 40)
        with (
            web_that_dies_at(product, point, tmp_path / point) as url,
            pytest.raises((OSError, http.client.HTTPException)),
        ):
            product.ask(killed[point], url=url)
    again = Asked(product.new_account(), 41)
    product.proxy.behave(Behaviour.CUT_BEFORE_FORWARD, when=product.last, times=1)
    with stopped_recoverer(product):
        assert product.ask(again).code == "outcome_unknown"
        # The one that was killed before its call may be due by now, and is given again before this one.
        while product.noted(again.key)[0][2] == 1:
            assert settle_until_killed(product) == -signal.SIGKILL
        assert product.noted(again.key) == [("pending", "open", 2, None)]

    for asked in (*killed.values(), again):
        settled = product.until_settled(asked)
        assert (settled.status, settled.is_replayed) == (201, True), settled
        assert product.operation(settled.body["id"]).body["state"] == "completed"
        product.did_once(asked)
    noted = [product.noted(asked.key)[0][2:] for asked in (*killed.values(), again)]
    assert noted[0] in [(2, "recoverer"), (3, "recoverer")]
    assert noted[1:] == [(1, "recoverer"), (1, "call"), (3, "recoverer")]


# --- stopped, and going on too late -------------------------------------------------------------------------
def test_a_process_that_stood_still_beyond_its_lease_changes_nothing_when_it_goes_on(
    product: Product, request: pytest.FixtureRequest
) -> None:
    skip_unless_thorough(request, product, quick="by-marker-mariadb")
    asked = Asked(product.new_account(), 40)
    assert product.ask(Asked(asked.account, 1)).status == 201
    product.beside.run("BEGIN")
    product.beside.run(product.kind.lock, asked.account)
    under_way = UnderWay(product, asked)
    eventually(lambda: product.noted(asked.key) != [])
    time.sleep(0.1)
    web = next(child for child in product.wrapped._supervisor.children if child.name == "web")
    stopped = children_of(web.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        product.beside.run("COMMIT")
        eventually(lambda: product.noted(asked.key)[0][0] == "completed", seconds=30)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)

    answer = under_way.answer()
    assert answer.status in (201, 409, 503), answer
    settled = product.until_settled(asked)
    assert (settled.status, settled.is_replayed) == (201, True), settled
    assert product.legacy_rows(asked.account) == [1, 40]
    ((operation, intent, _, by),) = product.noted(asked.key)
    assert (operation, intent, by) == ("completed", "done", "recoverer")


# --- killed at random ---------------------------------------------------------------------------------------
def kill_something(product: Product, rng: random.Random) -> None:
    """A web process, the web server with all of it, a worker process, or the worker with all of it."""
    name = rng.choice(["web", "worker"])
    child = next(child for child in product.wrapped._supervisor.children if child.name == name)
    processes = children_of(child.pid)
    whole = rng.random() < 0.3
    for pid in [child.pid, *processes] if whole else processes[:1]:
        kill(pid)


@on_two_kinds
def test_nothing_acknowledged_is_lost_or_done_twice_when_processes_are_killed(
    product: Product, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rng = random.Random(7)
    log = ClientLog(tmp_path / "client.log")
    accounts = [product.new_account() for _ in range(8)]
    shop = Shop(url=product.wrapped.url, key=product.api_key, log=log, accounts=accounts, clients=4, seed=7)
    shop.start()
    for _ in range(4 * request.config.getoption("--kills")):
        time.sleep(rng.uniform(0.6, 1.4))
        kill_something(product, rng)
    time.sleep(1)
    shop.stop()

    operations = log.operations.values()
    assert shop.errors == []
    assert [operation for operation in operations if operation.ended == "open"] == []
    assert [operation for operation in operations if len(operation.answers) != 1] == []
    acknowledged = [operation for operation in operations if operation.ended == "ok"]
    assert len(acknowledged) > 20, "there was hardly any load"
    for account in accounts:
        signed = [
            -operation.points if operation.kind == "spend" else operation.points
            for operation in acknowledged
            if operation.account_number == account
        ]
        assert Counter(product.legacy_rows(account)) == Counter(signed)
    for operation in acknowledged:
        found = product.operation(str(operation.operation_id)).body
        assert (found["state"], found["points"]) == ("completed", operation.points)
    noted = product.wrapped.query(
        "SELECT idempotency_key, state FROM ledger_operation WHERE account_number = ANY (%s)", [accounts]
    )
    expected = {each.key: "completed" if each.ended == "ok" else "failed" for each in operations}
    assert dict(noted) == expected
    assert len(noted) == len(expected)
    print(
        f"\n{product.kind.name}: {len(acknowledged)} acknowledged, {shop.unavailable_answers} asked to wait"
    )


# --- the inbox ----------------------------------------------------------------------------------------------
@on_new_row
def test_what_was_accepted_is_done_once_and_in_order(product: Product) -> None:
    """The legacy is away, then loses an answer, and the workers are killed in between."""
    accounts = [product.new_account() for _ in range(2)]
    accepted = [Asked(account, 10 + number) for number in range(6) for account in accounts]
    with product.proxy.behaving(Behaviour.REFUSE):
        for asked in accepted:
            answer = product.ask(asked, Prefer="respond-async")
            assert (answer.status, answer.body["state"]) == (202, "accepted"), answer
            kept = product.ask(asked, Prefer="respond-async")
            assert (kept.status, kept.body["id"]) == (202, answer.body["id"]), kept
        worker = next(child for child in product.wrapped._supervisor.children if child.name == "worker")
        for pid in [worker.pid, *children_of(worker.pid)]:
            kill(pid)
    product.proxy.behave(Behaviour.CUT_BEFORE_ANSWER, when=product.kind.call, times=1)
    product.proxy.wait_until_met(30)
    for pid in children_of(worker.pid)[:1]:
        kill(pid)
    product.proxy.behave(Behaviour.PASS)

    def is_done() -> bool:
        return all(product.noted(asked.key)[0][0] == "completed" for asked in accepted)

    eventually(is_done, seconds=60)
    for account in accounts:
        in_order = [asked.points for asked in accepted if asked.account == account]
        assert product.legacy_rows(account) == in_order
    for asked in accepted:
        answer = product.ask(asked)
        assert (answer.status, answer.is_replayed) == (201, True), answer
    eventually(lambda: product.wrapped.query("SELECT * FROM ledger_inbox") == [], seconds=20)
