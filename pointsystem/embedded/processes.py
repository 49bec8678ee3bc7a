"""Starting and ending the processes of a stack, so that none outlives whoever started it."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

# Loaded at once: between fork and exec a child must not look for libraries.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1

POLL_SECONDS = 0.05


class StackError(Exception):
    """A part of the stack did not start; the text says which, why, and what to do."""


def free_port() -> int:
    """A TCP port on the loopback address that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def die_with_parent(death_signal: int = signal.SIGTERM) -> None:
    """Ask Linux to signal this process when the thread that started it dies; elsewhere nothing."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


@dataclass
class Child:
    """One process of the stack: how it is started, how one sees that it is ready, how it ends."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    standard_input: bytes = b""
    # None: the user of this process. PostgreSQL refuses to run as root.
    user: int | None = None
    group: int | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    # Others work on a server until they end, so it ends after them.
    is_server: bool = False
    stop_seconds: float = 20.0
    is_ready: Callable[[], bool] = lambda: True
    ready_seconds: float = 120.0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    _asked: bool = False

    @property
    def pid(self) -> int:
        """The process id, or 0 before the first start."""
        return self.process.pid if self.process else 0

    def start(self) -> None:
        parent = os.getpid()
        death_signal = self.stop_signal

        def before_exec() -> None:
            die_with_parent(death_signal)
            if os.getppid() != parent:
                os._exit(1)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if self.standard_input else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
                cwd=self.directory,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
                # Ctrl-C reaches only the supervisor, which ends its children in order.
                start_new_session=True,
                preexec_fn=before_exec,
            )
        self.started_at = time.monotonic()
        self._asked = False
        if self.standard_input:
            _feed(self.process.stdin, self.standard_input)

    def wait_until_ready(self) -> None:
        """Raise StackError, with the end of the log, when it died or is not ready in time."""
        deadline = time.monotonic() + self.ready_seconds
        while not self.is_ready():
            if self.has_ended():
                raise StackError(f"{self.name} ended during its start:\n{self.end_of_log()}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready after {self.ready_seconds:.0f} s:\n{self.end_of_log()}"
                )
            time.sleep(POLL_SECONDS)

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def ask_to_end(self) -> None:
        """Once: a second signal would make a Celery worker drop the tasks it is to finish."""
        if self.process is not None and self.process.poll() is None and not self._asked:
            self._asked = True
            self.process.send_signal(self.stop_signal)

    def stop(self) -> None:
        """Ask it to end, wait, and kill it (with whatever it started) when it does not."""
        if self.process is None:
            return
        self.ask_to_end()
        try:
            self.process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self.process.wait()
        self.process = None

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def end_of_log(self, *, lines: int = 15) -> str:
        try:
            text = self.log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty log)"


def _feed(pipe: IO[bytes] | None, content: bytes) -> None:
    if pipe is None:
        return
    try:
        pipe.write(content)
        pipe.close()
    except BrokenPipeError:
        return


class Supervisor:
    """Starts children, starts again those that die, and ends them: the servers last, in reverse order."""

    LONGEST_PAUSE_SECONDS = 5.0
    # A child that lived this long is healthy again: its next death is answered at once.
    HEALTHY_SECONDS = 10.0

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self.children: list[Child] = []
        self._say = say
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def add(self, *children: Child) -> None:
        """Start children side by side and wait until each is ready.

        Raises StackError, and leaves none of these running then.
        """
        try:
            for child in children:
                child.start()
            for child in children:
                child.wait_until_ready()
        except BaseException:
            for child in children:
                child.stop()
            raise
        with self._lock:
            self.children.extend(children)
        if self._thread is None:
            # Linux ties a child's life to the thread that started it: this one lives as long as the stack.
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    def remove(self, child: Child) -> None:
        """End one child, and do not start it again."""
        with self._lock:
            if child in self.children:
                self.children.remove(child)
        child.stop()

    def stop(self) -> None:
        self._stopping.set()
        with self._lock:
            children, self.children = list(reversed(self.children)), []
        for child in children:
            if not child.is_server:
                child.ask_to_end()
        for child in children:
            child.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=10)
            self._thread = None

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            with self._lock:
                dead = [child for child in self.children if child.has_ended()]
            for child in dead:
                self._restart(child)

    def _restart(self, child: Child) -> None:
        code = child.process.returncode if child.process else None
        healthy = time.monotonic() - child.started_at > self.HEALTHY_SECONDS
        failures = 0 if healthy else self._failures.get(child.name, 0)
        self._failures[child.name] = failures + 1
        self._say(f"{child.name} ended ({_ending(code)}), starting it again")
        if self._stopping.wait(min(0.1 * 2**failures, self.LONGEST_PAUSE_SECONDS)):
            return
        with self._lock:
            if self._stopping.is_set() or child not in self.children:
                return
            try:
                child.start()
            except OSError as error:
                self._say(f"{child.name} could not be started: {error}")


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"by {signal.Signals(-code).name}"
        except ValueError:
            return f"by signal {-code}"
    return f"with code {code}"
