"""A whole product with a legacy behind it, for tests over HTTP: a ledger's database of its own (its route
starts as LEGACY_ONLY), a legacy, a web server, and workers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pointsystem.embedded.processes import Child, Supervisor
from pointsystem.embedded.stack import ROOT, Processes
from pointsystem.embedded.testing import TestServers, create_database, drop_database
from tests.legacy_bridge.proxied import connecting_to

#: Tests of this kind count their Redis databases from here.
_FIRST_REDIS_DATABASE = 64
_numbers = count()

SCOPES = ("points:read", "points:earn", "points:spend", "points:cancel", "points:transfer")


@dataclass(frozen=True)
class Legacy:
    """One of the legacies that the product is shown on."""

    name: str
    vendor: str
    adapter: str
    #: The module whose `install(session)` makes it.
    module: str

    def install(self) -> None:
        from legacy_bridge.sessions import session

        with session(timeout_seconds=60) as opened:
            import_module(self.module).install(opened)


_REFERENCE = ("legacy_bridge.reference.ReferenceAdapter", "legacy_bridge.reference.installing")
_TESTS = "tests.legacy_bridge.adapters"
LEGACIES = (
    Legacy("reference-postgresql", "postgresql", *_REFERENCE),
    Legacy("reference-mariadb", "mariadb", *_REFERENCE),
    Legacy("status-strings", "mariadb", f"{_TESTS}.status_strings.Adapter", f"{_TESTS}.status_strings"),
    Legacy("signals", "mariadb", f"{_TESTS}.signals.Adapter", f"{_TESTS}.signals"),
    Legacy("exceptions", "postgresql", f"{_TESTS}.exceptions.Adapter", f"{_TESTS}.exceptions"),
)


class Wrapped:
    """The product on `legacy_url`, until `stop`. `settings` are further environment variables."""

    def __init__(
        self,
        *,
        adapter: str,
        legacy_url: str,
        settings: Mapping[str, str] | None = None,
        web_processes: int = 1,
    ) -> None:
        self._servers = TestServers(**json.loads(os.environ["POINTS_TEST_SERVERS"]))
        number = next(_numbers)
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        self.name = f"points_test_{os.environ['POINTS_TEST_RUN']}{worker}_w{number}"
        redis_database = _FIRST_REDIS_DATABASE + 2 * number
        self.environment = {
            **os.environ,
            "POINTS_STACK": "test",
            "DATABASE_URL": _with_path(self._servers.application_url, self.name),
            "MIGRATE_DATABASE_URL": _with_path(self._servers.owner_url, self.name),
            "REDIS_URL": _with_path(self._servers.redis_url, str(redis_database)),
            "CELERY_BROKER_URL": _with_path(self._servers.redis_url, str(redis_database + 1)),
            "LEGACY_DATABASE_URL": legacy_url,
            "LEGACY_ADAPTER": adapter,
            "POINTS_WEB_PROCESSES": str(web_processes),
            **(settings or {}),
        }
        self._directory = tempfile.TemporaryDirectory(prefix="pointsystem-wrapped-")
        self._supervisor = Supervisor(say=lambda text: None)
        self._processes = Processes(
            environment=self.environment, directory=Path(self._directory.name), supervisor=self._supervisor
        )
        self.url = ""
        self.web: Child

    def create(self) -> None:
        """Its database, and nothing that runs."""
        create_database(
            maker_url=self._servers.maker_url,
            url=self.environment["DATABASE_URL"],
            owner_url=self.environment["MIGRATE_DATABASE_URL"],
        )
        self.manage("migrate", "--verbosity=0")

    def start(self, *, with_workers: bool = True) -> Wrapped:
        self.create()
        self.web, self.url = self._processes.start_web()
        if with_workers:
            self._processes.start_workers(nodes=self.name, concurrency=2)
        return self

    def restart_web(self, **settings: str) -> None:
        """Start the web server anew, with other settings."""
        self._supervisor.remove(self.web)
        self.web.stop()
        self.environment.update(settings)
        self._processes = Processes(
            environment=self.environment, directory=Path(self._directory.name), supervisor=self._supervisor
        )
        self.web, self.url = self._processes.start_web()

    def stop(self) -> None:
        self._supervisor.stop()
        drop_database(maker_url=self._servers.maker_url, url=self.environment["DATABASE_URL"])
        self._directory.cleanup()

    def manage(self, *arguments: str) -> str:
        """Run a management command; its standard output."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make_client(self, name: str, *scopes: str) -> str:
        """The key of a new client."""
        given = [f"--scope={scope}" for scope in scopes or SCOPES]
        return str(json.loads(self.manage("create_client", name, *given, "--json"))["key"])

    @property
    def log(self) -> str:
        """What the web server wrote."""
        return (Path(self._directory.name) / "logs" / "web.log").read_text()

    def query(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Rows of the ledger's database, read as its owner."""
        import psycopg

        with psycopg.connect(self.environment["MIGRATE_DATABASE_URL"], autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def at_legacy(url: str, do: Callable[[], Any]) -> Any:
    """Call `do` while the alias `legacy` of this process points at `url`."""
    with connecting_to(url):
        return do()


def _with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{path}"))
