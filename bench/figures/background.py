"""What is done beside the requests: P13 expiry, P14 refreshes, P16 verification."""

import resource
import statistics
import subprocess
import sys
import threading
import time
from typing import Any

import psycopg

from bench import inside, load, processor_time
from bench.datasets import History
from bench.figures.histories import _ENTRIES_EACH, BIG
from bench.figures.http import writing
from bench.figures.options import Options
from bench.row import Row, missing
from bench.world import World
from pointsystem.embedded.stack import ROOT

_LOTS = 100_000
_LOTS_EACH = 2
_ONE_BY_ONE = 1_000
_REFRESHED = 20_000
_VERIFY_SECONDS = 10.0


# --- P13 ------------------------------------------------------------------------------------------------
def expiry(world: World, options: Options) -> list[Row]:
    """Lots a second: one run over 100,000 lots, between runs of one account a transaction."""
    each: list[float] = []
    sets: list[float] = []
    for number in range(options.rounds):
        world.write(
            History(prefix=f"X{number}-", accounts=_LOTS // _LOTS_EACH, open_lots=_LOTS_EACH, lapsed=True)
        )
        one = inside.call(world, "expire_each", BENCH_ACCOUNTS=str(_ONE_BY_ONE))
        each.append(one["lots"] / one["seconds"])
        whole = inside.call(world, "expire")
        sets.append(whole["lots"] / whole["seconds"])
        options.tell(
            f"    one account a transaction: {each[-1]:,.0f} lots/s; set-based: {sets[-1]:,.0f} lots/s"
        )
    ours, other = statistics.median(sets), statistics.median(each)
    return [
        Row(
            figure="P13",
            what=f"expiry of {_LOTS:,} lots",
            ours=f"{ours:,.0f} lots/s",
            other=f"one transaction an account: {other:,.0f} lots/s",
            ratio=ours / other,
            target=">= 20",
            met=ours / other >= 20,
            details={"set_based": sets, "one_by_one": each},
        )
    ]


# --- P14 ------------------------------------------------------------------------------------------------
def refreshes(world: World, options: Options) -> list[Row]:
    """Refreshes a second through Celery and in a hand loop; and how long a refresh waits under load."""
    workers = world.workers()
    through: list[float] = []
    by_hand: list[float] = []
    for number in range(options.rounds + 1):
        for kind, rates in (("refresh_by_celery", through), ("refresh", by_hand)):
            _mark(world, _REFRESHED)
            result = inside.call(world, kind)
            if number:
                rates.append((result["accounts"] - result["left"]) / result["seconds"])
            options.tell(
                f"    {kind}: {result['accounts'] / result['seconds']:,.0f}/s, left {result['left']}"
            )
    lags = _lags_under_load(world, options)
    ours, other = statistics.median(through), statistics.median(by_hand)
    lag = lags[int(len(lags) * 0.99)] if lags else 0.0
    return [
        Row(
            figure="P14",
            what="refreshes through Celery",
            ours=f"{ours:,.0f}/s",
            other=f"hand loop, same reads and writes: {other:,.0f}/s",
            ratio=ours / other,
            target=">= 0.7",
            met=ours / other >= 0.7,
            details={"celery": through, "hand_loop": by_hand, "workers": len(workers)},
        ),
        Row(
            figure="P14",
            what="oldest balance that waits for its refresh, under 16 clients that earn",
            ours=f"p99 {lag:.2f} s, p50 {statistics.median(lags) if lags else 0.0:.2f} s",
            other="-",
            target="p99 <= 1 s",
            met=lag <= 1.0,
            details={"lags_seconds": lags},
        ),
    ]


def _mark(world: World, count: int) -> None:
    with world.superuser() as connection:
        connection.execute(
            "INSERT INTO ledger_stale_balance (account_id, sequence, marked_at)"
            " SELECT id, sequence, clock_timestamp() FROM ledger_account ORDER BY id LIMIT %s"
            " ON CONFLICT (account_id) DO NOTHING",
            [count],
        )


def _lags_under_load(world: World, options: Options) -> list[float]:
    """The age of the oldest mark, every 50 ms while 16 clients earn."""
    lags: list[float] = []
    over = threading.Event()

    def watch() -> None:
        with world.superuser() as connection:
            while not over.wait(0.05):
                lags.append(_oldest_mark_seconds(connection))

    _, url = world.web()
    requests = writing(world, "earn")
    directory = world.stack.data_dir / "run"
    load.run(url, requests, seconds=2, directory=directory)
    watcher = threading.Thread(target=watch)
    watcher.start()
    load.run(url, requests, seconds=options.seconds, directory=directory)
    over.set()
    watcher.join()
    return sorted(lags)


def _oldest_mark_seconds(connection: psycopg.Connection) -> float:
    row = connection.execute(
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(marked_at)), 0) FROM ledger_stale_balance"
    ).fetchone()
    return float(row[0]) if row else 0.0


# --- P16 ------------------------------------------------------------------------------------------------
def verification(world: World, options: Options) -> list[Row]:
    """Time and memory of `verify_ledger`, and of the same command on a tenth."""
    world.add_ledger(BIG, allocations=options.ledger_allocations, entries_each=_ENTRIES_EACH)
    small = "points_tenth"
    world.add_ledger(small, allocations=options.ledger_allocations // 10, entries_each=_ENTRIES_EACH)
    whole, tenth = _verify(world, BIG), _verify(world, small)
    if whole is None or tenth is None:
        return [missing("P16", "verify_ledger", other="-", target="<= 10 s", note="there is no such command")]
    target = _VERIFY_SECONDS * options.ledger_allocations / 1_000_000
    return [
        Row(
            figure="P16",
            what=f"verify_ledger on {options.ledger_allocations:,} allocations",
            ours=f"{whole['seconds']:.1f} s, {whole['memory'] / 2**20:.0f} MB",
            other=f"on a tenth: {tenth['seconds']:.1f} s, {tenth['memory'] / 2**20:.0f} MB",
            ratio=whole["memory"] / tenth["memory"],
            target=f"<= {target:g} s, the same memory",
            met=whole["seconds"] <= target and whole["memory"] <= 1.2 * tenth["memory"],
            note=f"exit code {whole['code']}; the ratio is of the memory",
            details={"whole": whole, "tenth": tenth},
        )
    ]


def _verify(world: World, database: str) -> dict[str, Any] | None:
    if not (ROOT / "ledger" / "management" / "commands" / "verify_ledger.py").exists():
        return None
    # The accounts of this ledger are named like those whose balances are cached.
    empty_redis = world.stack.environment()["REDIS_URL"].rsplit("/", 1)[0] + "/9"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "verify_ledger", "--json"],
        cwd=ROOT,
        env={**world.environment(), **world.stack.environment(database=database), "REDIS_URL": empty_redis},
        stdout=subprocess.DEVNULL,
    )
    most = 0
    while process.poll() is None:
        most = max(most, processor_time.resident_bytes(process.pid))
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    if not most:
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"seconds": seconds, "memory": most, "code": process.returncode}
