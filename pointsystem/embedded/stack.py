"""The whole product on one machine: PostgreSQL, Valkey, web server, Celery workers and beat.

with Stack(data_dir=directory, durable=True) as stack:
    stack.prepare()
    stack.start_web(port=8000)
    stack.start_workers()
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pointsystem.embedded import places
from pointsystem.embedded.postgres import PostgreSQL
from pointsystem.embedded.processes import Child, StackError, Supervisor, free_port
from pointsystem.embedded.valkey import Valkey

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "points"
LEGACY_DATABASE = "legacy"
OWNER_ROLE = "points_owner"
APPLICATION_ROLE = "points_app"

CACHE_DATABASE, BROKER_DATABASE = 0, 1
TEMPORARY_PREFIX = "pointsystem-"
JUST_STARTED_SECONDS = 60

# One worker process answers quickly, the other may be busy with a batch for long.
WORKERS = {
    "worker": ("commands", "mirror", "refresh"),
    "batch-worker": ("expire", "migrate"),
}


class Stack:
    """Processes of the product on one data directory. Nothing of it outlives this process.

    `durable` is for whoever keeps the data; tests give it up for speed. `listed` puts the stack where
    other commands look for a running one. With `own_servers=False` the product works on the servers that
    the environment names, and no PostgreSQL or Valkey is started. `with_legacy` gives it a database for a
    legacy too; a data directory that once had one keeps it, for who decides stands in its database.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        durable: bool = True,
        listed: bool = True,
        own_servers: bool = True,
        with_legacy: bool = False,
        stack_kind: str = "embedded",
        databases: Sequence[str] = (DATABASE,),
        settings: Mapping[str, str] | None = None,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.url = ""
        self.say = say
        self._durable = durable
        self._own_servers = own_servers
        self._with_legacy = with_legacy
        self._listed = listed and own_servers
        self._kind = stack_kind
        self._databases = databases
        self._settings = dict(settings or {})
        self._lock: IO[str] | None = None
        self._secrets: dict[str, str] = {}
        self.supervisor = Supervisor(say=say)
        self.postgres: PostgreSQL
        self.valkey: Valkey

    @classmethod
    def temporary(cls, name: str, **options: Any) -> Stack:
        """A stack in a fresh directory of its own, which the end of the stack removes."""
        _sweep_temporary()
        data_dir = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}{name}-"))
        stack = cls(data_dir=data_dir, **options)
        stack._temporary = True
        return stack

    _temporary = False

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # --- the servers --------------------------------------------------------------------------------
    def start(self) -> None:
        """Start PostgreSQL and Valkey, and write `env`. Raises StackError, then leaving nothing."""
        self._take_directory()
        if not self._own_servers:
            return
        try:
            self._start_servers()
            self._write_environment()
            if self._listed:
                places.enter(self.data_dir)
        except BaseException:
            self.stop()
            raise

    def _start_servers(self) -> None:
        self._secrets = _load_secrets(self.data_dir / "secrets")
        self.postgres = PostgreSQL(
            directory=self.data_dir / "postgres",
            log=self.log("postgres"),
            superuser_password=self._secrets["superuser"],
            durable=self._durable,
        )
        self.postgres.start(self.supervisor)
        self.postgres.ensure_roles(
            owner=OWNER_ROLE,
            owner_password=self._secrets["owner"],
            app=APPLICATION_ROLE,
            app_password=self._secrets["application"],
        )
        self.postgres.ensure_databases(self._databases, owner=OWNER_ROLE)
        if self.has_legacy:
            # The role that works owns it: the bridge installs its marker table, and ends its own sessions.
            self.postgres.ensure_databases([LEGACY_DATABASE], owner=APPLICATION_ROLE)
            self._legacy_note.touch()
        self.valkey = Valkey(log=self.log("valkey"), password=self._secrets["valkey"])
        self.valkey.start(self.supervisor)

    def stop(self) -> None:
        """End every process in reverse order of their start, and give the directory free."""
        if self._lock is None:
            # Never started, or refused: what is in the directory belongs to the stack that runs there.
            return
        (self.data_dir / "env").unlink(missing_ok=True)
        self.supervisor.stop()
        if self._listed:
            places.leave(self.data_dir)
        self._lock.close()
        self._lock = None
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def has_legacy(self) -> bool:
        """Whether the stack has a database for a legacy, from now on or from before."""
        return self._own_servers and (self._with_legacy or self._legacy_note.exists())

    @property
    def _legacy_note(self) -> Path:
        return self.data_dir / "has-legacy"

    def log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def _take_directory(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            # Others may pass, and may not look: the server's user has to reach its directory in here.
            self.data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
            (self.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
            (self.data_dir / "run").mkdir(mode=0o700, exist_ok=True)
            lock = open(self.data_dir / "lock", "a")  # noqa: SIM115
        except OSError as error:
            raise StackError(
                f"Cannot keep data in {self.data_dir} ({error.strerror}). Name another place with --data-dir."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(
                f"A point system is running on {self.data_dir} already. Stop it, or name another --data-dir."
            ) from None
        self._lock = lock
        (self.data_dir / "env").unlink(missing_ok=True)
        # Metrics of processes that are gone would be counted again.
        shutil.rmtree(self.data_dir / "run" / "metrics", ignore_errors=True)

    # --- what the processes see ---------------------------------------------------------------------
    def environment(self, *, database: str = DATABASE) -> dict[str, str]:
        """The settings by which any process of the product works on this stack."""
        here = {
            "POINTS_DATA_DIR": str(self.data_dir),
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics_directory()),
            **self._settings,
        }
        if not self._own_servers:
            return here
        return {
            "POINTS_STACK": self._kind,
            "SECRET_KEY": self._secrets["secret_key"],
            "DATABASE_URL": self.postgres.url(APPLICATION_ROLE, self._secrets["application"], database),
            "MIGRATE_DATABASE_URL": self.postgres.url(OWNER_ROLE, self._secrets["owner"], database),
            "REDIS_URL": self.valkey.url(CACHE_DATABASE),
            "CELERY_BROKER_URL": self.valkey.url(BROKER_DATABASE),
            **self._legacy_environment(),
            **here,
        }

    def _legacy_environment(self) -> dict[str, str]:
        if not self.has_legacy:
            return {}
        url = self.postgres.url(APPLICATION_ROLE, self._secrets["application"], LEGACY_DATABASE)
        return {"LEGACY_DATABASE_URL": url}

    def _metrics_directory(self) -> Path:
        directory = self.data_dir / "run" / "metrics"
        directory.mkdir(exist_ok=True)
        return directory

    def _write_environment(self) -> None:
        lines = [f"{name}={value}" for name, value in self.environment().items()]
        partial = self.data_dir / "env.part"
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
            handle.write("\n".join(lines) + "\n")
        partial.replace(self.data_dir / "env")

    def _process_environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment()}

    # --- the product --------------------------------------------------------------------------------
    def manage(self, *arguments: str) -> str:
        """Run a management command on this stack; its standard output. Raises StackError when it fails."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self._process_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"`manage.py {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def prepare(self) -> dict[str, Any]:
        """Migrate, and make a first administrator where there is none.

        Returns `{"administrator": {"username", "password"} or null}`: the password is shown this once.
        """
        answer: dict[str, Any] = json.loads(self.manage("prepare_stack"))
        return answer

    def start_web(self, *, port: int = 0, host: str = "127.0.0.1") -> Child:
        """Start the web server; `url` says where. Raises StackError."""
        child, self.url = self._processes().start_web(host=host, port=port)
        return child

    def start_workers(self) -> list[Child]:
        """Start the Celery workers of all queues, and beat. Raises StackError."""
        return self._processes().start_workers()

    def _processes(self) -> Processes:
        return Processes(
            environment=self._process_environment(), directory=self.data_dir, supervisor=self.supervisor
        )


class Processes:
    """Web server, workers and beat for any servers, embedded or not: the environment says which."""

    def __init__(self, *, environment: Mapping[str, str], directory: Path, supervisor: Supervisor) -> None:
        self._environment = dict(environment)
        self._directory = directory
        self._supervisor = supervisor
        for name in ("logs", "run"):
            (directory / name).mkdir(exist_ok=True)

    def start_web(self, *, host: str = "127.0.0.1", port: int = 0) -> tuple[Child, str]:
        """The child and its URL."""
        port = _usable(host, port) if port else free_port()
        processes = self._environment.get("POINTS_WEB_PROCESSES") or str(os.cpu_count() or 1)
        threads = self._environment.get("POINTS_WEB_THREADS") or "4"
        command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws"]
        command += ["--host", host, "--port", str(port), "--workers", processes]
        command += ["--blocking-threads", threads, "--blocking-threads-idle-timeout", "600"]
        # Stopping waits for requests under way, and no longer than one may take.
        command += ["--workers-kill-timeout", "15", "--respawn-failed-workers", "--log-level", "warning"]
        child = self._child("web", [*command, "pointsystem.wsgi:application"])
        child.is_ready = lambda: _answers_http(host, port)
        self._supervisor.add(child)
        return child, f"http://{host}:{port}"

    def start_workers(self, *, nodes: str = "points", concurrency: int = 0) -> list[Child]:
        """A quick worker, one for batches, and beat. `nodes` is the host part of node names."""
        children = []
        for name, queues in WORKERS.items():
            ready_file = self._directory / "run" / f"{name}.ready"
            ready_file.unlink(missing_ok=True)
            processes = 1 if name == "batch-worker" else concurrency or min(os.cpu_count() or 1, 4)
            command = [sys.executable, "-m", "celery", "-A", "pointsystem", "--quiet", "worker"]
            command += ["-Q", ",".join(queues), "-n", f"{name}@{nodes}", "--concurrency", str(processes)]
            command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
            command += ["-l", self._environment.get("LOG_LEVEL") or "INFO"]
            if not os.access("/dev/shm", os.W_OK):  # noqa: S108
                command += ["-P", "threads"]
            child = self._child(name, command, POINTS_READY_FILE=str(ready_file))
            child.is_ready = ready_file.exists
            children.append(child)
        schedule = self._directory / "run" / "beat-schedule"
        command = [sys.executable, "-m", "celery", "-A", "pointsystem", "beat", "-l", "WARNING"]
        beat = self._child("beat", [*command, "--schedule", str(schedule), "--pidfile="])
        children.append(beat)
        self._supervisor.add(*children)
        return children

    def _child(self, name: str, command: list[str], **extra: str) -> Child:
        return Child(
            name=name,
            command=command,
            log=self._directory / "logs" / f"{name}.log",
            environment={**self._environment, "PYTHONPATH": str(ROOT), **extra},
            directory=ROOT,
        )


def _usable(host: str, port: int) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise StackError(
                f"Port {port} cannot be used ({error.strerror}). Name another with --port."
            ) from None
    return port


def _answers_http(host: str, port: int) -> bool:
    """Whether any HTTP answer comes: what it says is the business of /readyz."""
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=5)  # noqa: S104
    try:
        connection.request("GET", "/healthz")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _load_secrets(path: Path) -> dict[str, str]:
    """The passwords of this data directory, made at its first use."""
    with contextlib.suppress(FileNotFoundError):
        kept: dict[str, str] = json.loads(path.read_text())
        return kept
    names = ("superuser", "owner", "application", "valkey")
    # Only letters, digits, - and _: these passwords stand in URLs.
    made = {name: secrets.token_urlsafe(24) for name in names}
    made["secret_key"] = secrets.token_urlsafe(48)
    partial = path.with_name("secrets.part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        json.dump(made, handle)
    partial.replace(path)
    return made


def _sweep_temporary() -> None:
    """Remove directories of temporary stacks that were killed: their lock is free."""
    for directory in Path(tempfile.gettempdir()).glob(f"{TEMPORARY_PREFIX}*"):
        try:
            if directory.stat().st_uid != os.geteuid():
                continue
            with open(directory / "lock") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _server_lives(directory):
                    shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            continue


def _server_lives(directory: Path) -> bool:
    """A server that was just told of its parent's death still needs its files for a moment."""
    pid_file = directory / "postgres" / "postmaster.pid"
    return pid_file.exists() and time.time() - (directory / "lock").stat().st_mtime < JUST_STARTED_SECONDS
