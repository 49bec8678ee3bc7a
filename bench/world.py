"""Everything that the figures run on: servers, the product's processes, the peers', and what they share."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

import psycopg
import redis

from bench import datasets, load, processor_time, statements
from bench.compare import Run, Side
from bench.peers.settings_of_peer import PeerSettings
from pointsystem.embedded.postgres import PostgreSQL
from pointsystem.embedded.processes import Child, Supervisor, free_port
from pointsystem.embedded.stack import OWNER_ROLE, ROOT, Stack, _answers_http

DATABASE = "points"
SCOPES = ("points:read", "points:earn", "points:spend", "points:cancel", "points:transfer", "operations:any")
PREFIX = "A"


class World:
    """An embedded stack of its own, with fsync on, in `data_dir`; a fresh one each time."""

    def __init__(
        self,
        *,
        data_dir: Path,
        results_dir: Path,
        peers_dir: Path,
        accounts: int,
        tell: Callable[[str], None],
    ) -> None:
        self.results_dir = results_dir
        self.accounts = accounts
        self.tell = tell
        self.peers_dir = peers_dir
        shutil.rmtree(data_dir, ignore_errors=True)
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        self.stack = Stack(data_dir=data_dir, durable=True, listed=False, say=tell)
        self.peers = Supervisor(say=tell)
        self.known: statements.Known
        self.key = ""
        self._web: Child | None = None
        self._workers: list[Child] = []
        self._ledgers: set[str] = set()
        self._running: dict[str, tuple[Child, str]] = {}

    def __enter__(self) -> "World":
        self.stack.start()
        try:
            self.tell("migrating")
            self.stack.prepare()
            made = self.stack.manage(
                "create_client", "bench", *(f"--scope={scope}" for scope in SCOPES), "--json"
            )
            self.key = json.loads(made)["key"]
            self.write(datasets.History(prefix=PREFIX, accounts=self.accounts))
            self.known = self._find_known(accounts=self.accounts)
        except BaseException:
            self.stack.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.peers.stop()
        self.stack.stop()
        shutil.rmtree(self.stack.data_dir, ignore_errors=True)

    # --- the database -------------------------------------------------------------------------------
    def write(self, history: datasets.History, *, database: str = DATABASE) -> None:
        self.tell(f"writing {history.accounts:,} accounts with {history.entries:,} entries")
        with self.superuser(database) as connection:
            datasets.write(connection, history)

    def superuser(self, database: str = DATABASE) -> psycopg.Connection:
        return self.stack.postgres.connect(database)

    @property
    def superuser_url(self) -> str:
        return self.stack.postgres.url("postgres", self.stack.postgres.superuser_password, DATABASE)

    @property
    def database_url(self) -> str:
        """Of the application's role, in the form that libpq's own programs take."""
        return self.stack.environment()["DATABASE_URL"].replace("postgres://", "postgresql://", 1)

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(self.stack.environment()["REDIS_URL"])

    def database_seconds(self) -> float:
        child = self.stack.postgres.child
        return processor_time.used_seconds([child.pid] if child else [])

    def add_ledger(self, database: str, *, allocations: int, entries_each: int) -> None:
        """Another ledger on the same server, with accounts of `entries_each` entries."""
        if database in self._ledgers:
            return
        self.stack.postgres.ensure_databases([database], owner=OWNER_ROLE)
        environment = {**os.environ, **self.stack.environment(database=database)}
        command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity=0"]
        subprocess.run(command, env=environment, cwd=ROOT, check=True)
        used = (entries_each - 2) // 2
        history = datasets.History(
            prefix=PREFIX, accounts=allocations // entries_each, used_lots=used, open_lots=2
        )
        self.write(history, database=database)
        self._ledgers.add(database)

    def url_of(self, database: str) -> str:
        return self.database_url.rsplit("/", 1)[0] + f"/{database}"

    def known_in(self, database: str, *, accounts: int) -> statements.Known:
        return self._find_known(database, accounts=accounts)

    def _find_known(self, database: str = DATABASE, *, accounts: int) -> statements.Known:
        with self.superuser(database) as connection:
            row = connection.execute(
                """
                SELECT (SELECT max(id) FROM ledger_client),
                    (SELECT id FROM ledger_reason WHERE code = 'ORDER_REWARD'),
                    (SELECT max(policy.id) FROM ledger_reason_policy AS policy
                     JOIN ledger_reason AS reason ON reason.id = policy.reason_id
                     WHERE reason.code = 'ORDER_REWARD'),
                    (SELECT id FROM ledger_reason WHERE code = 'ORDER_PAYMENT')
                """
            ).fetchone()
        assert row is not None
        return statements.Known(
            client_id=row[0],
            earn_reason_id=row[1],
            earn_policy_id=row[2],
            spend_reason_id=row[3],
            accounts=accounts,
            prefix=PREFIX,
        )

    # --- the product --------------------------------------------------------------------------------
    def web(self) -> tuple[Child, str]:
        """The product's web server, started at first use."""
        if self._web is None:
            self._web = self.stack.start_web()
            self.tell("started the product's web server")
        return self._web, self.stack.url

    def workers(self) -> list[Child]:
        """The product's Celery workers and beat, started at first use."""
        if not self._workers:
            self._workers = self.stack.start_workers()
            self.tell("started the product's workers")
        return self._workers

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    # --- the peers ----------------------------------------------------------------------------------
    def peer(self, name: str) -> tuple[Child, str] | None:
        """A web peer by name (`bare`, `fastapi`), started at first use; None where it is not installed."""
        if name not in self._running:
            port = free_port()
            workers = str(os.cpu_count() or 1)
            if name == "bare":
                command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"]
                command += ["--host", "127.0.0.1", "--port", str(port), "--workers", workers]
                command += ["--blocking-threads", "4", "--blocking-threads-idle-timeout", "600"]
                command += ["--log-level", "warning", "bench.peers.bare:application"]
            else:
                if not (self.peers_dir / "fastapi").exists():
                    return None
                command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
                command += ["--workers", workers, "--log-level", "warning", "--no-access-log"]
                command += ["bench.peers.fastapi_app:app"]
            child = Child(
                name=name,
                command=command,
                log=self.stack.data_dir / "logs" / f"{name}.log",
                environment=self._peer_environment(),
                directory=ROOT,
                is_ready=lambda: _answers_http("127.0.0.1", port),
            )
            self.peers.add(child)
            self._running[name] = child, f"http://127.0.0.1:{port}"
        return self._running[name]

    def _peer_environment(self) -> dict[str, str]:
        settings = self.stack.data_dir / "run" / "peer.json"
        told = PeerSettings(
            database_url=self.database_url,
            redis_url=self.stack.environment()["REDIS_URL"],
            earn=statements.earn(),
            spend=statements.spend(),
            client_id=self.known.client_id,
            earn_reason_id=self.known.earn_reason_id,
            earn_policy_id=self.known.earn_policy_id,
            spend_reason_id=self.known.spend_reason_id,
        )
        settings.write_text(json.dumps(asdict(told)))
        settings.chmod(0o600)
        path = os.pathsep.join([str(ROOT), str(self.peers_dir)])
        return {**os.environ, "PYTHONPATH": path, "BENCH_PEER": str(settings)}

    # --- sides --------------------------------------------------------------------------------------
    def http_side(
        self,
        name: str,
        server: tuple[Child, str],
        requests: load.Requests,
        *,
        connections: int = load.CONNECTIONS,
        database: PostgreSQL | None = None,
    ) -> Side:
        """A side that is loaded over HTTP; its processor time is that of the server's processes, and of
        `database` where it is another than the stack's."""
        child, url = server
        server_of = (database or self.stack.postgres).child

        def database_seconds() -> float:
            return processor_time.used_seconds([server_of.pid] if server_of else [])

        def run(seconds: float) -> Run:
            server_before = processor_time.used_seconds([child.pid])
            database_before = database_seconds()
            done = load.run(
                url,
                requests,
                seconds=seconds,
                directory=self.stack.data_dir / "run",
                connections=connections,
            )
            count = max(done.requests, 1)
            items = requests.repeat
            return Run(
                rate=done.rate * items,
                p50=done.p50,
                p99=done.p99,
                server_processor=(processor_time.used_seconds([child.pid]) - server_before) / count * 1e6,
                database_processor=(database_seconds() - database_before) / count * 1e6,
                errors=done.errors,
            )

        return Side(name=name, run=run)

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, **self.stack.environment()}
