"""The bench's side of `bench.child`: work in Python processes of their own."""

import json
import os
import subprocess
import sys
from typing import Any

from bench.compare import Run, Side
from bench.world import World
from pointsystem.embedded.stack import ROOT

#: Beyond its own time; work that has an end takes minutes at most.
_LONGEST_SECONDS = 400.0


def side(world: World, name: str, kind: str, *, url: str) -> Side:
    """16 threads in two processes that call the work of `kind` on the database of `url`."""

    def run(seconds: float) -> Run:
        before = world.database_seconds()
        result = call(world, kind, seconds=seconds, BENCH_DATABASE_URL=url)
        count = max(result["count"], 1)
        return Run(
            rate=result["count"] / result["seconds"],
            p50=result["p50"],
            p99=result["p99"],
            server_processor=result["processor_seconds"] / count * 1e6,
            database_processor=(world.database_seconds() - before) / count * 1e6,
            errors=result["errors"],
        )

    return Side(name=name, run=run)


def call(world: World, kind: str, *, seconds: float = 0.0, **environment: str) -> dict[str, Any]:
    """Run `kind` in a process of its own; what it printed. Raises CalledProcessError."""
    command = [sys.executable, "-m", "bench.child", kind, "--seconds", str(seconds)]
    path = os.pathsep.join([str(ROOT), environment.pop("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        command,
        env={
            **world.environment(),
            "PYTHONPATH": path,
            "BENCH_PEERS_DIR": str(world.peers_dir),
            **environment,
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=seconds + _LONGEST_SECONDS,
    )
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def hordak_url(world: World) -> str:
    return world.superuser_url.rsplit("/", 1)[0] + "/hordak"


def prepare_hordak(world: World) -> None:
    with world.superuser("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS hordak")
        connection.execute("CREATE DATABASE hordak")
    call(world, "hordak_prepare", BENCH_DATABASE_URL=hordak_url(world))
