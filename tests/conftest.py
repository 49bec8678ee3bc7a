"""The servers and databases of the tests. No mocks: PostgreSQL, Valkey, Celery and the web server are real.

House rule: nothing is ever flushed. The ledger's tables refuse TRUNCATE, so Django's transactional tests
cannot work on them. A test takes `db` (rolled back at its end), or `committed_db` (real commits, seen by
threads and other processes), and then stands apart by account numbers and client names of its own.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings
from xdist.scheduler import LoadScopeScheduling

from pointsystem.embedded.processes import Child, Supervisor
from pointsystem.embedded.stack import Processes, Stack
from pointsystem.embedded.testing import (
    TestServers,
    create_database,
    drop_database,
    drop_roles,
    embedded_servers,
    given_servers,
)

_stack: Stack | None = None
_servers: TestServers | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--histories",
        type=int,
        default=200,
        help="How many histories of 40 steps the ledger is compared with its model on (default 200).",
    )
    parser.addoption(
        "--kills", type=int, default=1, help="How many times as often processes are killed (default 1)."
    )
    parser.addoption(
        "--accounts", type=int, default=60, help="How many accounts a killed migration has (default 60)."
    )
    parser.addoption(
        "--travels", type=int, default=3, help="How many random ways through the stages are gone (default 3)."
    )
    parser.addoption(
        "--switches", type=int, default=8, help="How many moves a storm of switches makes (default 8)."
    )


# --- Before Django is set up ----------------------------------------------------------------------------
@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once, and point the settings at this process's own databases.

    Under xdist the controller starts them; its workers inherit the environment.
    """
    global _stack, _servers
    if settings.configured:
        raise pytest.UsageError(
            "Unset DJANGO_SETTINGS_MODULE: the settings were read before the servers are up."
        )
    worker = getattr(config, "workerinput", {}).get("workerid", "")
    if worker:
        _servers = TestServers(**json.loads(os.environ["POINTS_TEST_SERVERS"]))
    else:
        os.environ["POINTS_TEST_RUN"] = secrets.token_hex(4)
        if os.environ.get("DATABASE_URL"):
            _servers = given_servers()
        else:
            # Data that dies with the tests needs no fsync.
            _stack = Stack.temporary("tests", durable=False, listed=False, stack_kind="test")
            _stack.start()
            _servers = embedded_servers(_stack)
        os.environ["POINTS_TEST_SERVERS"] = json.dumps(asdict(_servers))
    for name in ("POINTS_DATA_DIR", "LEGACY_DATABASE_URL", "DEBUG", "PROMETHEUS_MULTIPROC_DIR"):
        os.environ.pop(name, None)
    os.environ.update(_servers.environment(worker=worker))
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(48))
    os.environ.setdefault("POINTS_CLOCK", "system")
    os.environ["DJANGO_SETTINGS_MODULE"] = "pointsystem.settings"
    django.setup()
    # An xdist worker that inherited it would read the settings before its own databases are named.
    del os.environ["DJANGO_SETTINGS_MODULE"]


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    if _servers is not None and _servers.roles_to_drop:
        drop_roles(_servers)
    if _stack is not None:
        _stack.stop()


# --- Side by side -----------------------------------------------------------------------------------------
class ByServers(LoadScopeScheduling):
    """Tests of one module stay in one process, and so do those that share servers.

    Tests that commit come after all that are rolled back (pytest-django sorts them so), and stay there: a
    module that has both is two scopes.
    """

    _scopes: dict[str, str] | None = None

    def _split_scope(self, nodeid: str) -> str:
        if self._scopes is None:
            self._scopes = _scopes_of(self.collection or [])
        return self._scopes[nodeid]


def _scopes_of(collection: Sequence[str]) -> dict[str, str]:
    scopes: dict[str, str] = {}
    runs: Counter[str] = Counter()
    last = ""
    for nodeid in collection:
        module, _, name = nodeid.partition("::")
        # Each legacy and each stage has a product of its own: "[signals-writes.earns_add_up]".
        found = re.search(r"\[([a-zA-Z_-]+?)(-[a-z_]+\.[a-z_0-9]+)?\]$", name)
        together = next((folder for folder in _TOGETHER if module.startswith(folder)), None)
        if together is not None:
            scopes[nodeid] = together
        elif module.startswith("tests/contract/test_on_") and found:
            scopes[nodeid] = f"{module} {found[1]}"
        else:
            runs[module] += module != last
            scopes[nodeid] = f"{module} {runs[module]}"
        last = module
    return scopes


_TOGETHER = ("tests/backoffice/browser", "tests/faults/test_legacy", "tests/faults/test_mirror")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return ByServers(config, log) if config.getvalue("dist") == "loadscope" else None


# --- Databases ------------------------------------------------------------------------------------------
@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any) -> Iterator[None]:
    """Create this process's database by real migrations, as the owner; tests connect as the application."""
    from django.core.management import call_command
    from django.db import connections

    assert _servers is not None
    url, owner_url = os.environ["DATABASE_URL"], os.environ["MIGRATE_DATABASE_URL"]
    create_database(maker_url=_servers.maker_url, url=url, owner_url=owner_url)
    with django_db_blocker.unblock():
        call_command("migrate", interactive=False, verbosity=0)
    _forget_redis()
    yield
    with django_db_blocker.unblock():
        connections.close_all()
    drop_database(maker_url=_servers.maker_url, url=url)
    _forget_redis()


def _forget_redis() -> None:
    """A crashed run may have left messages and balances in the databases that are now ours."""
    import redis

    for name in ("REDIS_URL", "CELERY_BROKER_URL"):
        client = redis.Redis.from_url(os.environ[name])
        client.flushdb()
        client.close()


@pytest.fixture
def committed_db(
    django_db_setup: None, django_db_blocker: Any, request: pytest.FixtureRequest
) -> Iterator[None]:
    """The database without a transaction around the test: what it commits stays until the end of the run."""
    from django.db import connections

    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        raise pytest.UsageError("A test takes `db` or `committed_db`, not both.")
    with django_db_blocker.unblock():
        yield
        for connection in connections.all(initialized_only=True):
            assert not connection.in_atomic_block, "the test left a transaction open"
            connection.close()


@pytest.fixture
def transactional_db() -> None:
    raise pytest.UsageError("Tests never flush: the ledger refuses TRUNCATE. Take `committed_db`.")


# --- The product's own processes --------------------------------------------------------------------------
@pytest.fixture(scope="session")
def processes(django_db_setup: None) -> Iterator[Processes]:
    """Starts processes of the product on this pytest process's databases, and starts again those that die."""
    with tempfile.TemporaryDirectory(prefix="pointsystem-processes-") as directory:
        metrics = Path(directory) / "metrics"
        metrics.mkdir()
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "POINTS_WEB_PROCESSES": os.environ.get("POINTS_WEB_PROCESSES", "2"),
        }
        supervisor = Supervisor(say=lambda text: None)
        yield Processes(environment=environment, directory=Path(directory), supervisor=supervisor)
        supervisor.stop()
        if kept := os.environ.get("POINTS_TEST_LOGS"):
            where = Path(kept) / (os.environ.get("PYTEST_XDIST_WORKER") or "only")
            shutil.copytree(directory, where, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def web_server(processes: Processes) -> tuple[Child, str]:
    """A real granian with two serving processes: its child (for its pid and log), and its URL."""
    return processes.start_web()


@pytest.fixture(scope="session")
def live_server_url(web_server: tuple[Child, str]) -> str:
    return web_server[1]


@pytest.fixture(scope="session")
def celery_workers(processes: Processes) -> list[Child]:
    """Real prefork workers of all queues and beat: `worker`, `batch-worker`, `beat`."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return processes.start_workers(nodes=f"points-{os.environ['POINTS_TEST_RUN']}{worker}", concurrency=2)
