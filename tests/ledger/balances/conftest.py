"""A Redis (Valkey) of the test's own: to stop, to flush, to spoil, and where no worker interferes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pointsystem.embedded.processes import Child, Supervisor
from pointsystem.embedded.valkey import Valkey

if TYPE_CHECKING:
    import redis

    from tests.ledger.member import Member

ROOT = Path(__file__).resolve().parents[3]
CACHE, BROKER = 0, 1


@dataclass
class OwnRedis:
    """One Valkey server: database 0 is the cache of this test, database 1 its broker."""

    server: Valkey
    supervisor: Supervisor
    directory: Path
    clients: list[redis.Redis] = field(default_factory=list)
    workers: list[Child] = field(default_factory=list)

    def client(self, database: int = CACHE) -> redis.Redis:
        import redis

        client = redis.Redis.from_url(self.server.url(database))
        self.clients.append(client)
        return client

    @property
    def pid(self) -> int:
        assert self.server.child is not None
        return self.server.child.pid

    def hang(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the server; `start_again` brings an empty one back to the same port."""
        assert self.server.child is not None
        self.supervisor.remove(self.server.child)

    def start_again(self) -> None:
        assert self.server.child is not None
        self.supervisor.add(self.server.child)

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "REDIS_URL": self.server.url(CACHE),
            "CELERY_BROKER_URL": self.server.url(BROKER),
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "pointsystem.settings",
        }

    def start_worker(self, *, crash_point: str = "") -> Child:
        """A real Celery worker of the queues `refresh` and `commands`, with one pool process."""
        ready = self.directory / f"worker-{len(self.workers)}.ready"
        command = [sys.executable, "-m", "celery", "-A", "pointsystem", "worker", "-Q", "refresh,commands"]
        command += ["-n", f"w{len(self.workers)}@{self.directory.name}", "--concurrency", "1", "-l", "INFO"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        child = Child(
            name="worker",
            command=command,
            log=self.directory / f"worker-{len(self.workers)}.log",
            environment={
                **self.environment(),
                "POINTS_READY_FILE": str(ready),
                "POINTS_CRASH_POINT": crash_point,
            },
            directory=ROOT,
            is_ready=ready.exists,
            ready_seconds=60,
        )
        self.workers.append(child)
        child.start()
        child.wait_until_ready()
        return child


@pytest.fixture
def own_redis(
    committed_db: None, settings: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[OwnRedis]:
    """Cached balances, doorbell and tasks of this process go to a Valkey of this test.

    Where the timeout itself is not the point (`with_real_timeout` of the class), a busy machine may
    take longer than a request would wait.
    """
    from celery import current_app

    from ledger import doorbell
    from ledger.balances import _redis

    supervisor = Supervisor(say=lambda text: None)
    server = Valkey(log=tmp_path / "valkey.log", password="of-this-test")
    server.start(supervisor)
    own = OwnRedis(server=server, supervisor=supervisor, directory=tmp_path)
    caches = dict(settings.CACHES)
    caches["default"] = {**caches["default"], "LOCATION": server.url(CACHE)}
    if not getattr(request.cls, "with_real_timeout", False):
        patient = {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0}
        caches["default"]["OPTIONS"] = {**caches["default"]["OPTIONS"], **patient}
    settings.CACHES = caches
    broker_url = current_app.conf.broker_write_url
    current_app.conf.broker_write_url = server.url(BROKER)
    _forget(doorbell, _redis)
    yield own
    with suppress(ProcessLookupError):
        own.go_on()
    for worker in own.workers:
        worker.stop()
    _forget(doorbell, _redis)
    current_app.conf.broker_write_url = broker_url
    for client in own.clients:
        client.close()
    supervisor.stop()


def _forget(doorbell: Any, redis_module: Any) -> None:
    doorbell._doorbell.end()
    doorbell.reset()
    redis_module.reset()


@pytest.fixture
def member(own_redis: OwnRedis) -> Member:
    """A member of real, committed operations."""
    from tests.ledger.member import Member

    return Member()


@pytest.fixture
def simulated_clock(settings: Any, own_redis: OwnRedis) -> Callable[[datetime], None]:
    """Moves the clock of this test; nothing else of the run uses the simulated one after it."""
    from ledger import clock

    settings.POINTS_CLOCK = "simulated"
    return lambda instant: clock.set_simulated(instant=instant)


def run_python(program: str, *, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a program against the product, in a process of its own, for at most a minute."""
    return subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{program}"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_until(is_so: Callable[[], bool], *, seconds: float = 60.0) -> float:
    """Poll until `is_so`; how long it took. Fails when it takes too long."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - started
