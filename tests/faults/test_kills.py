"""Processes are killed under load, and afterwards the books and the clients must agree to the point.

`--kills N` kills N times as many (the default run kills a few of each kind; see docs/operating/testing.md).
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pointsystem.embedded.stack import Stack
from tests.faults.client_log import ClientLog
from tests.faults.shop import Shop

ACCOUNTS = 12


def children_of(pid: int) -> list[int]:
    """The pids of the direct children of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found.extend(int(child) for child in (task / "children").read_text().split())
        except OSError:
            continue
    return found


def child_named(stack: Stack, name: str) -> Any:
    return next(child for child in stack.supervisor.children if child.name == name)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_a_web_process(stack: Stack, rng: random.Random) -> None:
    processes = children_of(child_named(stack, "web").pid)
    if processes:
        kill(rng.choice(processes))


def kill_the_web_server(stack: Stack, rng: random.Random) -> None:
    child = child_named(stack, "web")
    for pid in [child.pid, *children_of(child.pid)]:
        kill(pid)


def kill_a_worker_process(stack: Stack, rng: random.Random) -> None:
    processes = children_of(child_named(stack, "worker").pid)
    if processes:
        kill(rng.choice(processes))


def kill_the_workers(stack: Stack, rng: random.Random) -> None:
    child = child_named(stack, "worker")
    for pid in [child.pid, *children_of(child.pid)]:
        kill(pid)


def kill_postgresql(stack: Stack, rng: random.Random) -> None:
    kill(child_named(stack, "PostgreSQL").pid)


def kill_valkey(stack: Stack, rng: random.Random) -> None:
    kill(child_named(stack, "Valkey").pid)


@pytest.mark.parametrize(
    ("deed", "times", "pause_seconds"),
    [
        pytest.param(kill_a_web_process, 12, 1.2, id="web-process"),
        pytest.param(kill_the_web_server, 3, 2.5, id="web-server"),
        pytest.param(kill_a_worker_process, 8, 0.6, id="worker-process"),
        pytest.param(kill_the_workers, 2, 4.0, id="workers"),
        pytest.param(kill_postgresql, 2, 4.0, id="postgresql"),
        pytest.param(kill_valkey, 2, 3.0, id="valkey"),
    ],
)
def test_nothing_acknowledged_is_lost_and_nothing_is_done_twice(
    stack: Stack,
    api_key: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    deed: Callable[[Stack, random.Random], None],
    times: int,
    pause_seconds: float,
) -> None:
    rng = random.Random(times)
    accounts = [f"{request.node.callspec.id}-{number}" for number in range(ACCOUNTS)]
    log = ClientLog(tmp_path / "client.log")
    shop = Shop(url=stack.url, key=api_key, log=log, accounts=accounts, clients=4, seed=times)
    shop.start()
    for _ in range(times * request.config.getoption("--kills")):
        time.sleep(pause_seconds * rng.uniform(0.5, 1.5))
        deed(stack, rng)
    time.sleep(1)
    shop.stop()

    assert shop.errors == []
    acknowledged = [operation for operation in log.operations.values() if operation.ended == "ok"]
    assert len(acknowledged) > 20, "there was hardly any load"
    assert [operation for operation in log.operations.values() if operation.ended == "open"] == []
    # One key, one answer, however often and through whatever deaths it was asked.
    assert [operation for operation in log.operations.values() if len(operation.answers) != 1] == []
    _compare_with_the_ledger(stack, log, accounts)
    stack.manage("verify_ledger")
    _compare_with_what_clients_are_shown(stack, api_key, log, accounts)


def _compare_with_the_ledger(stack: Stack, log: ClientLog, accounts: list[str]) -> None:
    with psycopg.connect(stack.environment()["DATABASE_URL"]) as connection:
        rows = connection.execute(
            "SELECT idempotency_key, id::text, state, points, account_number FROM ledger_operation"
            " WHERE account_number = ANY (%s) AND kind <> 'expire'",
            [accounts],
        ).fetchall()
    found = {row[0]: row[1:] for row in rows}
    assert len(found) == len(rows)
    expected = {
        operation.key: (
            operation.operation_id if operation.ended == "ok" else found[operation.key][0],
            "completed" if operation.ended == "ok" else "failed",
            operation.points,
            operation.account_number,
        )
        for operation in log.operations.values()
    }
    assert found == expected


def _balances(log: ClientLog, accounts: list[str]) -> dict[str, int]:
    balances = dict.fromkeys(accounts, 0)
    for operation in log.operations.values():
        if operation.ended == "ok":
            sign = -1 if operation.kind == "spend" else 1
            balances[operation.account_number] += sign * operation.points
    return balances


def _compare_with_what_clients_are_shown(
    stack: Stack, api_key: str, log: ClientLog, accounts: list[str]
) -> None:
    """Within ten seconds, through the cache: killed processes may have left their marks to the sweeper."""
    expected = _balances(log, accounts)
    deadline = time.monotonic() + 20
    while True:
        shown = {number: _available(stack, api_key, number) for number in accounts}
        if shown == expected or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    assert shown == expected


def _available(stack: Stack, api_key: str, number: str) -> int | None:
    asked = urllib.request.Request(
        f"{stack.url}/api/v1/accounts/{number}/balance", headers={"Authorization": f"Bearer {api_key}"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as response:
            available: int = json.load(response)["available"]
            return available
    except OSError:
        return None
