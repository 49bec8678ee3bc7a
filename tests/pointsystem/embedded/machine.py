"""Running `manage.py` as a person does: from a shell that knows nothing of the tests' servers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OURS = re.compile(
    r"^(POINTS_|PYTEST_|DATABASE_URL|MIGRATE_|LEGACY_|REDIS_URL|CELERY_|SECRET_KEY|DJANGO_|PROMETHEUS_)"
)
START_SECONDS = 180
STOP_SECONDS = 60


def shell_environment(**extra: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not OURS.match(name)}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


@contextmanager
def place() -> Iterator[Path]:
    """A directory that the server's user can enter; pytest's own tmp_path is closed to it when root tests."""
    directory = Path(tempfile.mkdtemp(prefix="points-up-"))
    directory.chmod(directory.stat().st_mode | stat.S_IXOTH)
    try:
        yield directory
    finally:
        for pid in processes_on(directory):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


def manage(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=shell_environment(POINTS_HOME=str(home)),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


class Up:
    """A running `manage.py up` on a free port."""

    def __init__(self, data_dir: Path, *, home: Path) -> None:
        self.data_dir = data_dir
        self.output = data_dir.with_name(data_dir.name + f"-{time.monotonic_ns()}.out")
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up", "--port", "0", "--data-dir", str(data_dir)],
                env=shell_environment(POINTS_HOME=str(home)),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> str:
        deadline = time.monotonic() + START_SECONDS
        while words not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.1)
        return self.text()

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+", self.wait_for("ready"))
        assert found is not None
        return found.group()

    def end(self, signal_number: signal.Signals) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(STOP_SECONDS)


def processes_on(directory: Path) -> list[int]:
    """Pids that work on `directory`: it is in their arguments, environment or working directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            traces = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            traces += os.fsencode(os.readlink(entry / "cwd"))
        except OSError:
            continue
        if os.fsencode(directory) in traces:
            found.append(int(entry.name))
    return found


def wait_until_gone(directory: Path, *, seconds: float = 30) -> list[int]:
    """Pids that are still there after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := processes_on(directory)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def child_of(pid: int, *words: str) -> int:
    """The one child process of `pid` that has all of these words in its arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if parent == pid and all(word in command for word in words):
            found.append(int(entry.name))
    assert len(found) == 1, f"{len(found)} children with {words}"
    return found[0]
