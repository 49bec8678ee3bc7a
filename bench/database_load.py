"""Load on PostgreSQL itself, by pgbench with prepared statements."""

import re
import secrets
import shutil
import statistics
import subprocess
from pathlib import Path

from bench.compare import Run, Side
from bench.load import CONNECTIONS
from bench.world import World

_PROCESSED = re.compile(r"number of transactions actually processed: (\d+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+)")


class PgbenchFailed(Exception):
    """pgbench ended with an error; the text is its own."""


def is_there() -> bool:
    return shutil.which("pgbench") is not None


def side(world: World, name: str, script: str, *, url: str | None = None, clients: int = CONNECTIONS) -> Side:
    """pgbench with `script`, prepared statements and `clients` connections kept over the run."""
    path = world.stack.data_dir / "run" / f"{secrets.token_hex(4)}.sql"
    path.write_text(script)

    def run(seconds: float) -> Run:
        return pgbench(world, path, seconds=seconds, url=url or world.database_url, clients=clients)

    return Side(name=name, run=run)


def pgbench(world: World, script: Path, *, seconds: float, url: str, clients: int) -> Run:
    """One bounded run. Raises PgbenchFailed."""
    prefix = world.stack.data_dir / "run" / f"pgbench-{secrets.token_hex(4)}"
    command = ["pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=1"]
    command += [
        f"--time={max(1, round(seconds))}",
        f"--file={script}",
        "--log",
        f"--log-prefix={prefix}",
        url,
    ]
    before = world.database_seconds()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    used = world.database_seconds() - before
    processed, rate = _PROCESSED.search(done.stdout), _RATE.search(done.stdout)
    if done.returncode != 0 or processed is None or rate is None:
        raise PgbenchFailed(done.stderr[-2000:])
    failed = _FAILED.search(done.stdout)
    latencies = _latencies(prefix)
    return Run(
        rate=float(rate[1]),
        p50=statistics.median(latencies) if latencies else None,
        p99=latencies[int(len(latencies) * 0.99)] if latencies else None,
        server_processor=0.0,
        database_processor=used / max(int(processed[1]), 1) * 1e6,
        errors=int(failed[1]) if failed else 0,
    )


def _latencies(prefix: Path) -> list[float]:
    """Milliseconds of every transaction, sorted."""
    found: list[float] = []
    for log in prefix.parent.glob(f"{prefix.name}.*"):
        with log.open() as lines:
            found.extend(int(line.split(" ", 3)[2]) / 1000 for line in lines)
        log.unlink()
    return sorted(found)
