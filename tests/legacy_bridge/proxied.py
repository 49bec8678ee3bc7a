"""A legacy behind a proxy, and its server from the side: what tests of lost answers need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from tests.tcp_proxy import TcpProxy

#: What our deadline adds to the server's timeout, in tests.
GRACE_SECONDS = 0.3
#: The statement itself, not `SET AUTOCOMMIT`: PyMySQL sends it as a command of its own.
COMMIT = {"postgresql": b"COMMIT", "mysql": b"\x03COMMIT"}


@contextmanager
def behind_proxy(url: str, *, timeout_seconds: float | None = None) -> Iterator[TcpProxy]:
    """Point the alias `legacy` at a proxy before the server of `url`, with short timeouts where given."""
    parts = urlsplit(url)
    with TcpProxy(parts.hostname, parts.port) as proxy:
        place = f"{parts.netloc.rpartition('@')[0]}@{proxy.host}:{proxy.port}"
        with connecting_to(urlunsplit(parts._replace(netloc=place)), timeout_seconds=timeout_seconds):
            yield proxy


@contextmanager
def connecting_to(url: str, *, timeout_seconds: float | None = None) -> Iterator[None]:
    """Point the alias `legacy` at `url`, for every thread that connects from now on."""
    import pytest
    from django.conf import settings
    from django.db import connections

    import pointsystem.settings
    from legacy_bridge import sessions

    before = connections.databases.get(sessions.ALIAS)
    with pytest.MonkeyPatch.context() as patch:
        if timeout_seconds is not None:
            patch.setattr(pointsystem.settings, "POINTS_LEGACY_TIMEOUT_SECONDS", timeout_seconds)
            patch.setattr(settings, "POINTS_LEGACY_TIMEOUT_SECONDS", timeout_seconds)
            # What comes on top is made short as well: these tests wait for it often.
            patch.setattr(sessions, "_GRACE_SECONDS", GRACE_SECONDS)
        point_at(pointsystem.settings.legacy_database(url))
        try:
            yield
        finally:
            point_at(before)


def point_at(configuration: dict[str, Any] | None) -> None:
    """Let the alias `legacy` of this process be this database from now on, or none."""
    from django.db import connections

    from legacy_bridge import sessions

    if sessions.ALIAS in connections.databases:
        sessions.forget()
        if hasattr(connections._connections, sessions.ALIAS):
            del connections[sessions.ALIAS]
    if configuration is None:
        connections.databases.pop(sessions.ALIAS, None)
        return
    connections.databases[sessions.ALIAS] = configuration
    connections.configure_settings(connections.databases)


class Beside:
    """A connection of its own to the same server, past the bridge and its proxy: a direct caller."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.is_postgresql = parts.scheme.startswith("postgres")
        self.connection = self._connect(parts, url)

    def _connect(self, parts: Any, url: str) -> Any:
        if self.is_postgresql:
            import psycopg

            return psycopg.connect(url, autocommit=True)
        import pymysql

        return pymysql.connect(
            host=parts.hostname,
            port=parts.port,
            user=parts.username,
            password=parts.password or "",
            database=parts.path.lstrip("/"),
            autocommit=True,
        )

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def kill_others(self) -> None:
        """End every other session of this database, as an operator or a failing server does."""
        if self.is_postgresql:
            self.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return
        numbers = self.run(
            "SELECT ID FROM information_schema.PROCESSLIST"
            " WHERE DB = DATABASE() AND ID <> CONNECTION_ID() AND COMMAND <> 'Killed'"
        )
        for (number,) in numbers:
            self.run(f"KILL CONNECTION {number}")

    def close(self) -> None:
        self.connection.close()


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Start `work` in a thread of its own; the answer waits for its end, and raises what it raised."""
    outcome: list[Any] = []

    def run() -> None:
        from legacy_bridge import sessions

        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))
        finally:
            sessions._close(sessions.connections[sessions.ALIAS])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(30)
        assert outcome, "the thread did not end"
        result, error = outcome[0]
        if error is not None:
            raise error
        return result

    return wait


def eventually(is_so: Callable[[], bool], *, seconds: float = 5.0) -> None:
    give_up_at = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come to be"
        time.sleep(0.02)
