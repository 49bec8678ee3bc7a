"""Processes beside the test that work on the same ledger and the same legacy, and are killed or stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cutover.mirroring import worker
from ledger.database import fetch_all
from pointsystem.embedded.stack import ROOT

WORK = "from cutover.mirroring import worker; worker.run(budget_seconds=60)"
DRAIN = "from cutover import face; face.drain_inbox()"
_DJANGO = "import django; django.setup(); "
_WAITS = "SELECT count(*) FROM cutover_message WHERE account_number = ANY (%s) AND state = 'waiting'"
_DUE = """
UPDATE cutover_message SET due_at = clock_timestamp()
WHERE account_number = ANY (%s) AND state = 'waiting'
"""
_OVERDUE = """
UPDATE cutover_intent SET leased_until = clock_timestamp() - interval '1 second'
WHERE account_number = ANY (%s) AND state = 'open'
"""


def environment(urls: dict[str, str], legacy: dict[str, Any]) -> dict[str, str]:
    """Of a process that works where this test does. `legacy` is Django's own word for the database."""
    server = f"{legacy['HOST']}:{legacy['PORT']}"
    who = f"{quote(legacy['USER'])}:{quote(legacy['PASSWORD'])}"
    return {
        **os.environ,
        **urls,
        "POINTS_STACK": "test",
        "LEGACY_DATABASE_URL": f"postgres://{who}@{server}/{legacy['NAME']}",
        "LEGACY_ADAPTER": "legacy_bridge.reference.ReferenceAdapter",
        "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
        "LOG_LEVEL": "WARNING",
    }


def begin(code: str, where: dict[str, str], *, crash_at: str = "") -> subprocess.Popen[bytes]:
    """A process that runs `code`, and kills itself when it comes to `crash_at` (`point:turn`)."""
    given = {**where, "POINTS_CRASH_POINT": crash_at} if crash_at else where
    return subprocess.Popen(
        [sys.executable, "-c", _DJANGO + code],
        env=given,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def run(code: str, where: dict[str, str], *, crash_at: str = "") -> int:
    """How it ended."""
    return begin(code, where, crash_at=crash_at).wait(timeout=60)


def stopping_at(point: str) -> str:
    """Code after which a process stops itself, once, when it comes to `point`, until it is continued."""
    return (
        "import os, signal; from ledger import crash_points; turns = [1]\n"
        "def reach(name):\n"
        f"    if name == {point!r} and turns and turns.pop():\n"
        "        os.kill(os.getpid(), signal.SIGSTOP)\n"
        "crash_points.reach = reach\n"
    )


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 30
    while _state(process.pid) != "T":
        assert process.poll() is None, "it ended before it came to the point"
        assert time.monotonic() < give_up_at, "it did not stop"
        time.sleep(0.02)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def go_on(process: subprocess.Popen[bytes]) -> int:
    os.kill(process.pid, signal.SIGCONT)
    return process.wait(timeout=60)


def end_leases(numbers: list[str]) -> None:
    """As if the time of whoever works on these accounts were over."""
    fetch_all(_DUE, [numbers])
    fetch_all(_OVERDUE, [numbers])


def work_until_done(numbers: list[str], *, seconds: float = 60.0) -> None:
    """Be the worker until nothing waits on these accounts; pauses are taken as over."""
    give_up_at = time.monotonic() + seconds
    while fetch_all(_WAITS, [numbers])[0][0]:
        assert time.monotonic() < give_up_at, "there is still something that waits"
        end_leases(numbers)
        worker.run()
