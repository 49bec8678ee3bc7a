"""What it was measured on."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from pathlib import Path

from bench import load
from bench.world import World

_PACKAGES = ("django", "granian", "psycopg", "celery", "redis", "msgspec")
_PEERS = ("fastapi", "uvicorn", "django_hordak")


def described(world: World) -> dict[str, str]:
    """Machine and versions, as far as they can be read here."""
    with world.superuser() as connection:
        row = connection.execute("SHOW server_version").fetchone()
        durable = connection.execute(
            "SELECT string_agg(name || '=' || setting, ', ' ORDER BY name) FROM pg_settings"
            " WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers')"
        ).fetchone()
    assert row is not None
    assert durable is not None
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES]
    versions += [
        f"{found.name.removesuffix('.dist-info').replace('-', ' ')}"
        for name in _PEERS
        for found in world.peers_dir.glob(f"{name}-*.dist-info")
    ]
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgresql": f"{row[0]} ({durable[0]})",
        "packages": ", ".join(versions),
        "load": f"{load.generator_name()}, {_pgbench()}, {load.CONNECTIONS} connections over loopback",
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
        "data": f"{world.accounts:,} accounts with 3 lots each at the start",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _pgbench() -> str:
    if not shutil.which("pgbench"):
        return "no pgbench"
    done = subprocess.run(["pgbench", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
