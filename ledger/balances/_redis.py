"""The way to Redis from a request: one connection a thread, one exchange, one bounded wait.

django-redis is configured with the server, its password and the timeouts, and makes the connections;
but its client costs three times the exchange itself, so commands are packed by hand and sent over a
connection that the thread keeps (measured in docs/adr/0007-balances-in-redis.md).

One failure opens the breaker: from then on nobody in this process waits for Redis. A thread of its
own asks until Redis answers again, says what could not be said meanwhile, and closes the breaker.
"""

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from django_redis import get_redis_connection
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ledger.balances import _protocol, metrics

log = structlog.get_logger(__name__)

_FIRST_PROBE_SECONDS = 0.2
_LONGEST_PROBE_SECONDS = 1.0
_KEPT_AT_MOST = 50_000
_KEPT_AT_ONCE = 500


class RedisUnavailable(Exception):
    """Redis refused, hung or answered with an error; or did so just now, and was not asked again."""


class _Thread(threading.local):
    """The connections that this thread keeps, one for each timeout."""

    def __init__(self) -> None:
        self.connections: dict[float | None, AbstractConnection] = {}


_thread = _Thread()


def connect(timeout_seconds: float | None = None) -> AbstractConnection:
    """A connection of its own, as django-redis is configured. Raises RedisError."""
    pool = get_redis_connection("default").connection_pool
    options = dict(pool.connection_kwargs)
    if timeout_seconds is not None:
        options["socket_timeout"] = timeout_seconds
    # Not counted by the pool, which would keep it when its thread has ended.
    connection: AbstractConnection = pool.connection_class(**options)
    connection.connect()  # type: ignore[no-untyped-call]
    return connection


def exchange(
    commands: bytes, replies: int, *, errors_are_replies: bool = False, timeout_seconds: float | None = None
) -> list[Any]:
    """Send packed commands in one round trip, and return all replies.

    Commands may reach Redis twice, when the kept connection turns out to be dead. Waits for
    `timeout_seconds`, by default as long as a request may. Raises RedisUnavailable, at once while the
    breaker is open; error replies count as that too, unless `errors_are_replies`.
    """
    if breaker.is_open:
        raise RedisUnavailable("Redis did not answer a moment ago.")
    try:
        answers = _exchange(commands, replies, timeout_seconds)
        if not errors_are_replies:
            _raise_error_among(answers)
        return answers
    except (RedisError, OSError) as error:
        breaker.trip(error)
        raise RedisUnavailable(str(error)) from error


def _exchange(commands: bytes, replies: int, timeout_seconds: float | None) -> list[Any]:
    kept = _thread.connections
    # Kept only after it has served: a connection that failed must not be met again.
    connection = kept.pop(timeout_seconds, None)
    if connection is not None:
        try:
            answers = _send(connection, commands, replies)
            kept[timeout_seconds] = connection
            return answers
        except RedisTimeoutError:
            raise
        except RedisConnectionError:
            # The server restarted, or closed what was idle: that says nothing about it now.
            pass
    connection = connect(timeout_seconds)
    answers = _send(connection, commands, replies)
    kept[timeout_seconds] = connection
    return answers


def _send(connection: AbstractConnection, commands: bytes, replies: int) -> list[Any]:
    answers = _send_once(connection, commands, replies)
    if any(isinstance(answer, NoScriptError) for answer in answers):
        # Redis restarted or was flushed. Commands are idempotent: all of them again, behind the scripts in
        # one piece, because flushed once more in between it would pass for a Redis that fails.
        again, all_replies = _protocol.LOAD_SCRIPTS + commands, _protocol.SCRIPTS + replies
        answers = _send_once(connection, again, all_replies)
        _raise_error_among(answers[: _protocol.SCRIPTS])
        answers = answers[_protocol.SCRIPTS :]
    return answers


def _send_once(connection: AbstractConnection, commands: bytes, replies: int) -> list[Any]:
    connection.send_packed_command((commands,))  # type: ignore[no-untyped-call]
    answers: list[Any] = []
    for _ in range(replies):
        try:
            answers.append(connection.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers


def _raise_error_among(answers: list[Any]) -> None:
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer


class Breaker:
    """Keeps a process from waiting for a Redis that does not answer.

    Meanwhile it keeps the versions that were to be noted, and notes them before anybody in this
    process reads from Redis again. What is too much to keep is left to the sweeper, and counted.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_abandoned = False
        self._lock = threading.Lock()
        self._kept: dict[bytes, int] = {}

    def keep(self, versions: Mapping[bytes, int]) -> bool:
        """Keep these tombstones for later. False when the breaker is closed: then write them now."""
        with self._lock:
            if not self.is_open:
                return False
            for key, sequence in versions.items():
                if key in self._kept or len(self._kept) < _KEPT_AT_MOST:
                    self._kept[key] = max(sequence, self._kept.get(key, 0))
                else:
                    metrics.ANNOUNCED_NEVER.inc()
            return True

    def trip(self, error: Exception) -> None:
        """Open, and ask in a thread of its own until Redis answers again."""
        metrics.REDIS_FAILURES.inc()
        with self._lock:
            if self.is_open:
                return
            self.is_open = True
        metrics.BREAKER_OPEN.set(1)
        log.warning("redis_unavailable", error=f"{type(error).__name__}: {error}")
        # While the interpreter ends there are no new threads, and no more requests either.
        with suppress(RuntimeError):
            threading.Thread(target=self._probe, name="points-redis-probe", daemon=True).start()

    def _probe(self) -> None:
        pause_seconds = _FIRST_PROBE_SECONDS
        while True:
            time.sleep(pause_seconds)
            if self.is_abandoned:
                return
            pause_seconds = min(pause_seconds * 2, _LONGEST_PROBE_SECONDS)
            try:
                connection = connect()
                try:
                    self._catch_up(connection)
                finally:
                    connection.disconnect()  # type: ignore[no-untyped-call]
            except (RedisError, OSError):
                continue
            return

    def _catch_up(self, connection: AbstractConnection) -> None:
        """Write what was kept until nothing is left, then close. Raises RedisError."""
        _raise_error_among(_send(connection, _protocol.pack(b"PING"), 1))
        while True:
            with self._lock:
                if not self._kept:
                    self.is_open = False
                    break
                batch = {key: self._kept[key] for key in list(self._kept)[:_KEPT_AT_ONCE]}
            _raise_error_among(_send(connection, *_protocol.tombstones(batch)))
            metrics.ANNOUNCED_LATE.inc(len(batch))
            with self._lock:
                for key, sequence in batch.items():
                    if self._kept[key] == sequence:
                        del self._kept[key]
        metrics.BREAKER_OPEN.set(0)
        log.info("redis_available")


breaker = Breaker()


def reset() -> None:
    """Forget connections and what is known of Redis: in a forked child, and for another server."""
    global _thread, breaker
    _thread = _Thread()
    breaker.is_abandoned = True
    breaker = Breaker()


os.register_at_fork(after_in_child=reset)
