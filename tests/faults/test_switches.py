"""Two operators go back and forth under load: nothing lost, nothing twice, nothing under a wrong epoch.

`--switches N` makes N moves in each of the two runs (docs/operating/testing.md). What clients waited is
printed: for each move, the slowest of the probes' requests that were under way within it.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from pointsystem.embedded.stack import ROOT
from tests.cutover.sides import of_rows
from tests.faults.client_log import ClientLog
from tests.faults.legacies import KINDS, Product
from tests.faults.shop import Shop
from tests.legacy_bridge.conftest import _databases  # noqa: F401
from tests.tcp_proxy import Behaviour

CLIENTS = 12
PROBES = 4
ACCOUNTS = 40
LEGACY_STAGES = ("LEGACY_ONLY", "LEGACY_FIRST")


@pytest.fixture(scope="module")
def product(
    _databases: Any,  # noqa: F811
    django_db_blocker: Any,
) -> Iterator[Product]:
    """A product of its own: its stage is nobody else's."""
    with django_db_blocker.unblock():
        product = Product(KINDS[0], _databases.make(KINDS[0].vendor), web_processes=2)
        try:
            yield product.start()
        finally:
            product.stop()


@dataclass
class Probe:
    """A client that does one thing after another on an account of its own, and notes how long each took."""

    product: Product
    account: str
    taken: list[tuple[float, float, int]] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        place = urlsplit(self.product.wrapped.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        headers = {
            "Authorization": f"Bearer {self.product.api_key}",
            "Content-Type": "application/json",
        }
        number = 0
        while not self.stopping.is_set():
            number += 1
            started = time.time()
            if number % 2:
                connection.request("GET", f"/api/v1/accounts/{self.account}/balance", None, headers)
            else:
                body = json.dumps({"points": 1, "reason": "ORDER_REWARD"})
                path = f"/api/v1/accounts/{self.account}/earn"
                connection.request("POST", path, body, {**headers, "Idempotency-Key": str(uuid4())})
            response = connection.getresponse()
            response.read()
            self.taken.append((started, time.time(), response.status))
            time.sleep(0.002)


@pytest.fixture
def moves(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--switches"))


@contextmanager
def under_load(product: Product, log: ClientLog, *, seed: int) -> Iterator[tuple[Shop, list[Probe]]]:
    accounts = [f"{seed}-{number:03}-{uuid4().hex[:8]}" for number in range(ACCOUNTS)]
    shop = Shop(
        url=product.wrapped.url, key=product.api_key, log=log, accounts=accounts, clients=CLIENTS, seed=seed
    )
    probes = [Probe(product, f"probe-{uuid4().hex[:10]}") for _ in range(PROBES)]
    threads = [threading.Thread(target=probe.run, daemon=True) for probe in probes]
    shop.start()
    for thread in threads:
        thread.start()
    try:
        yield shop, probes
    finally:
        for probe in probes:
            probe.stopping.set()
        for thread in threads:
            thread.join(timeout=40)
        shop.stop()


def operate(product: Product, moves: int, *, seed: int) -> list[dict[str, Any]]:
    """Two operators at once; what each noted of its moves."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.faults.operating", name, str(moves // 2), str(seed + number)],
            env={**product.wrapped.environment, "DJANGO_SETTINGS_MODULE": "pointsystem.settings"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, name in enumerate(("kim", "lee"))
    ]
    notes = []
    for operator in running:
        output, _ = operator.communicate(timeout=30 + 20 * moves)
        assert operator.returncode == 0
        notes += [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return notes


def come_to_rest(product: Product) -> None:
    """Everything told and everything accepted done, with somebody following."""
    (stage,) = product.wrapped.query("SELECT stage FROM cutover_route")[0]
    step = {"LEGACY_ONLY": "LEGACY_FIRST", "NEW_ONLY": "NEW_FIRST"}.get(stage)
    if step:
        product.wrapped.query("UPDATE cutover_route SET stage = %s, epoch = epoch + 1", [step])
    waiting = """
    SELECT (SELECT count(*) FROM cutover_message WHERE state = 'waiting'),
        (SELECT count(*) FROM ledger_inbox),
        (SELECT count(*) FROM cutover_intent WHERE state IN ('open', 'in_doubt'))
    """
    give_up_at = time.monotonic() + 120
    while (left := product.wrapped.query(waiting)[0]) != (0, 0, 0):
        assert time.monotonic() < give_up_at, left
        time.sleep(0.25)


def prove(product: Product, log: ClientLog, shop: Shop) -> None:
    for line in product.server_errors():
        print(line)
    assert shop.errors == []
    assert (
        product.wrapped.query("SELECT last_error, payload FROM cutover_message WHERE state = 'parked'") == []
    )
    assert [op for op in log.operations.values() if op.ended == "open"] == []
    # A 202 and the outcome after it are two answers to one key; two outcomes would not be.
    assert [
        op.answers for op in log.operations.values() if len({a.split('"id"')[1] for a in op.answers}) > 1
    ] == []
    _nothing_lost_nothing_twice(product, log)
    _nothing_under_a_wrong_epoch(product)
    _both_sides_equal(product, {op.account_number for op in log.operations.values()})
    assert json.loads(product.wrapped.manage("verify_ledger", "--json"))["ok"] is True


def _nothing_lost_nothing_twice(product: Product, log: ClientLog) -> None:
    kept = {
        key: (state, points)
        for key, state, points in product.wrapped.query(
            "SELECT idempotency_key, state, points FROM ledger_operation"
        )
    }
    expected: dict[str, int] = {}
    for operation in log.operations.values():
        if operation.ended == "refused":
            continue
        state, points = kept[operation.key]
        if state == "failed":
            # Accepted, and refused in its turn: a cancel that came after another.
            continue
        assert (state, points) == ("completed", operation.points), operation
        sign = -1 if operation.kind == "spend" else 1
        number = operation.account_number
        expected[number] = expected.get(number, 0) + sign * operation.points
    balances = dict(
        product.wrapped.query(
            "SELECT account_number, balance FROM ledger_account WHERE account_number = ANY (%s)",
            [list(expected)],
        )
    )
    assert balances == expected


def _nothing_under_a_wrong_epoch(product: Product) -> None:
    """Every operation names the stage of its epoch; the journal says which that was."""
    stage_of = dict(
        product.wrapped.query("SELECT epoch, to_stage FROM cutover_journal WHERE result = 'done'")
    )
    rows = product.wrapped.query(
        "SELECT epoch, stage, decided_elsewhere, count(*) FROM ledger_operation"
        " WHERE stage IS NOT NULL AND state = 'completed' GROUP BY 1, 2, 3"
    )
    wrong = [
        row
        for row in rows
        if (row[0] in stage_of and stage_of[row[0]] != row[1]) or (row[1] in LEGACY_STAGES) != row[2]
    ]
    assert wrong == []
    assert len({row[0] for row in rows}) > 3


def _both_sides_equal(product: Product, accounts: set[str]) -> None:
    aliases = {
        str(derived): str(lot)
        for derived, lot in product.wrapped.query("SELECT derived_id, lot_id FROM cutover_lot_alias")
    }
    by_legacy = of_rows(
        product.beside.run(
            "SELECT rtrim(MBR_NO), LOT_SEQ, REMAIN_AMT FROM legacy.PT_LOT WHERE REMAIN_AMT > 0"
        ),
        aliases,
    )
    by_ledger: dict[str, dict[str, int]] = {}
    for number, lot, remaining in product.wrapped.query(
        "SELECT account_number, lot_id, remaining FROM ledger_open_lot"
        " JOIN ledger_account ON ledger_account.id = account_id"
    ):
        by_ledger.setdefault(number, {})[str(lot)] = remaining
    assert {number: by_ledger.get(number, {}) for number in accounts} == {
        number: by_legacy.get(number, {}) for number in accounts
    }


def tell_pauses(probes: list[Probe], notes: list[dict[str, Any]], *, what: str) -> None:
    """Print what clients waited: within the moves, and else."""
    done = [note for note in notes if note["came"] == "done"]
    every = sorted(end - start for probe in probes for start, end, _ in probe.taken)
    slowest = sorted(
        max(
            (
                end - start
                for probe in probes
                for start, end, _ in probe.taken
                if start < note["ended"] and end > note["at"]
            ),
            default=0.0,
        )
        for note in done
    )
    refused = sum(status >= 400 for probe in probes for _, _, status in probe.taken)
    print(
        f"{what}: {len(done)} moves, {len(notes) - len(done)} refused; slowest request within a move:"
        f" p50 {_part(slowest, 0.5):.0f} ms, p99 {_part(slowest, 0.99):.0f} ms,"
        f" worst {slowest[-1] * 1000:.0f} ms;"
        f" of all {len(every)} requests: p50 {_part(every, 0.5):.0f} ms, p99 {_part(every, 0.99):.0f} ms,"
        f" {refused} refused"
    )


def _part(values: list[float], part: float) -> float:
    return 1000 * values[min(int(len(values) * part), len(values) - 1)]


def begin(product: Product) -> None:
    product.ask_balance()
    product.wrapped.query("UPDATE cutover_route SET capture = true, epoch = epoch + 1")
    if product.wrapped.query("SELECT stage FROM cutover_route")[0][0] == "LEGACY_ONLY":
        product.wrapped.query("UPDATE cutover_route SET stage = 'LEGACY_FIRST', epoch = epoch + 1")


def test_a_storm_of_switches(product: Product, moves: int, tmp_path: Path) -> None:
    begin(product)
    log = ClientLog(tmp_path / "client.log")
    with under_load(product, log, seed=1) as (shop, probes):
        notes = operate(product, moves, seed=10)
    come_to_rest(product)
    tell_pauses(probes, notes, what="a quick legacy")
    prove(product, log, shop)


def test_a_storm_of_switches_over_a_legacy_that_is_slow_at_times(
    product: Product, moves: int, tmp_path: Path
) -> None:
    begin(product)
    log = ClientLog(tmp_path / "client.log")
    with under_load(product, log, seed=2) as (shop, probes):
        slow = threading.Event()

        def slow_down() -> None:
            while not slow.wait(1.5):
                product.proxy.behave(Behaviour.DELAY, when=product.kind.call, times=2, seconds=10)

        slowing = threading.Thread(target=slow_down, daemon=True)
        slowing.start()
        try:
            notes = operate(product, moves, seed=20)
        finally:
            slow.set()
            slowing.join()
            product.proxy.behave(Behaviour.PASS)
    come_to_rest(product)
    tell_pauses(probes, notes, what="a slow legacy")
    prove(product, log, shop)
