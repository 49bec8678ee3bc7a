"""Deadlines that hold whatever the other side does.

A statement timeout is kept by the server, and a server that is gone, or a network that swallows what was
sent, keeps none. One thread watches the calls under way and shuts the socket of one that is overdue: the
driver then raises as for any lost connection.
"""

from __future__ import annotations

import heapq
import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

_numbers = itertools.count()


@dataclass(order=True)
class Watched:
    due_at: float
    number: int
    database: Any = field(compare=False)
    is_over: bool = field(default=False, compare=False)
    was_cut: bool = field(default=False, compare=False)


class _Watch:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Watched] = []
        self._thread: threading.Thread | None = None

    def begin(self, database: Any, seconds: float) -> Watched:
        watched = Watched(time.monotonic() + seconds, next(_numbers), database)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="legacy-deadlines", daemon=True)
                self._thread.start()
            heapq.heappush(self._waiting, watched)
            if self._waiting[0] is watched:
                self._changed.notify()
        return watched

    def end(self, watched: Watched) -> None:
        # Under the lock: a connection that was given back must never be cut.
        with self._changed:
            watched.is_over = True
            watched.database = None

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                while self._waiting and (self._waiting[0].is_over or self._waiting[0].due_at <= now):
                    watched = heapq.heappop(self._waiting)
                    if not watched.is_over:
                        watched.was_cut = True
                        _cut(watched.database)
                self._changed.wait(self._waiting[0].due_at - now if self._waiting else None)


def _cut(database: Any) -> None:
    descriptor = _descriptor(database.connection)
    if descriptor is None:
        return
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as duplicate:
        duplicate.shutdown(socket.SHUT_RDWR)


def _descriptor(connection: Any) -> int | None:
    """The socket below a connection of psycopg or PyMySQL, or None where there is none (any more)."""
    with suppress(Exception):
        if hasattr(connection, "pgconn"):
            return int(connection.pgconn.socket)
        return int(connection._sock.fileno())
    return None


def is_quiet(connection: Any) -> bool:
    """Whether nothing waits to be read from a connection that rests. What comes unasked is a goodbye."""
    descriptor = _descriptor(connection)
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


_watch = _Watch()


@contextmanager
def deadline(database: Any, *, seconds: float) -> Iterator[Watched]:
    """Cut the connection of `database` when the block takes longer than `seconds`."""
    watched = _watch.begin(database, seconds)
    try:
        yield watched
    finally:
        _watch.end(watched)


def _reset() -> None:
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_reset)
