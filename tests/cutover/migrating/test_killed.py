"""A migration is killed again and again, at every step, and ends where one that was left alone ends.

`--accounts N` makes N accounts (about ten rows each), and kills more often: see docs/operating/testing.md.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pointsystem.embedded.stack import ROOT
from tests.wrapped import Wrapped

SEED = 7
FLAWED = 0.3
#: Every step of an import, each time it is reached for the nth time.
POINTS = (
    "migrate.read:1",
    "migrate.read:2",
    "migrate.adopted:1",
    "migrate.posted:2",
    "migrate.noted:1",
    "migrate.committed:2",
    "migrate.batch_done:1",
    "migrate.cursor_moved:2",
)
# Corrections at the end of a history are of the moment of their import.
_ENTRIES = """
SELECT account.account_number, entry.sequence, entry.id::text, entry.operation_id::text, entry.kind,
    entry.points, entry.balance_after,
    CASE WHEN entry.kind = 'adjust' THEN NULL ELSE entry.recorded_at END
FROM ledger_entry AS entry JOIN ledger_account AS account ON account.id = entry.account_id
ORDER BY 1, 2
"""
_ALLOCATIONS = """
SELECT entry_id::text, position, lot_id::text, points FROM ledger_allocation ORDER BY 1, 2
"""
_OPEN_LOTS = "SELECT lot_id::text, remaining, expires_at FROM ledger_open_lot ORDER BY 1"
_HASH = "SELECT count(*), md5(string_agg(md5(found::text), '' ORDER BY found::text)) FROM ({query}) AS found"
_MISMATCHES = "SELECT account_number, subject, said::text FROM cutover_mismatch ORDER BY 1, 2"


@pytest.fixture
def accounts(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--accounts"))


@pytest.fixture(params=["postgresql", "mariadb"])
def products(request: pytest.FixtureRequest, legacy_database: Any) -> Iterator[list[Wrapped]]:
    """Two ledgers over one legacy, without workers."""
    legacy_url = legacy_database(request.param)
    made = [
        Wrapped(adapter="legacy_bridge.reference.ReferenceAdapter", legacy_url=legacy_url) for _ in range(2)
    ]
    for product in made:
        product.create()
    yield made
    for product in made:
        product.stop()


def hashes(product: Wrapped) -> list[Any]:
    queries = (_ENTRIES, _ALLOCATIONS, _OPEN_LOTS, _MISMATCHES)
    return [product.query(_HASH.format(query=query))[0] for query in queries]


def start(product: Wrapped, *arguments: str, crash_point: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env={**product.environment, "POINTS_CRASH_POINT": crash_point},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def test_a_migration_that_was_killed_ends_as_one_that_was_left_alone(
    products: list[Wrapped], accounts: int
) -> None:
    unkilled, killed = products
    unkilled.manage("legacy", "install")
    rows = 10 * accounts
    unkilled.manage(
        "legacy", "load", f"--accounts={accounts}", f"--rows={rows}", f"--seed={SEED}", f"--flawed={FLAWED}"
    )
    began = time.monotonic()
    done = json.loads(unkilled.manage("migrate_legacy", "--json"))
    seconds = time.monotonic() - began
    assert done["accounts_done"] == accounts
    assert done["counts"]["corrections"] > 0, "no history was flawed"

    deaths = kill_at_every_step(killed, batch=max(1, accounts // 20))
    deaths += kill_at_random(killed, seconds=seconds, times=2 if accounts <= 1000 else 20)
    again = json.loads(killed.manage("migrate_legacy", "--json"))
    print(f"{accounts} accounts, {done['rows_done']} rows in {seconds:.1f} s, {deaths} deaths")

    assert deaths >= len(POINTS)
    assert again["finished_at"] is not None
    assert hashes(killed) == hashes(unkilled)
    assert set(verified(killed).values()) == set(verified(unkilled).values()) == {0}
    killed.manage("verify_ledger")
    assert json.loads(killed.manage("migrate_legacy", "--json"))["rows_done"] == 0
    assert hashes(killed) == hashes(unkilled)


def verified(product: Wrapped) -> Any:
    return json.loads(product.manage("verify_migration", "--json"))["differences"]


def kill_at_every_step(product: Wrapped, *, batch: int) -> int:
    for point in POINTS:
        process = start(product, "migrate_legacy", f"--batch={batch}", crash_point=point)
        _, said = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, f"{point} was not reached: {said.decode()}"
        # What is held by the dead process is let go at once, instead of after half a minute.
        product.query("UPDATE cutover_run SET leased_until = NULL WHERE finished_at IS NULL")
    return len(POINTS)


def kill_at_random(product: Wrapped, *, seconds: float, times: int) -> int:
    draw = random.Random(SEED)
    deaths = 0
    for _ in range(times):
        process = start(product, "migrate_legacy", "--batch=20")
        time.sleep(draw.uniform(1.0, max(1.5, seconds / times * 2)))
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            deaths += 1
        process.communicate(timeout=60)
        product.query("UPDATE cutover_run SET leased_until = NULL WHERE finished_at IS NULL")
    return deaths
