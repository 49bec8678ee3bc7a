"""Asks Celery for work after a commit: many ids in one message, and never on the request thread.

A publish for every request would halve the API. So a request only leaves its ids here, and a thread
of this process, started by the first of them, sends what has gathered. Nothing depends on a message:
what it asks for stands in PostgreSQL, and a sweeper asks again (docs/adr/0007-balances-in-redis.md).
So the doorbell may drop what it cannot send, counts it, and holds nobody up.
"""

import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.util import Finalize
from typing import Any

import structlog
from celery import current_app

from ledger.balances import metrics
from ledger.balances.guard import refuse_inside_transaction

log = structlog.get_logger(__name__)

_GATHER_SECONDS = 0.1
_IDS_IN_A_MESSAGE = 500
_IDS_AT_MOST = 50_000
_BROKER_TIMEOUT_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_AT_EXIT_SECONDS = 1.0
# By then the sweeper has done what the message asks for.
_MESSAGE_EXPIRES_SECONDS = 60


class _Bell:
    """Ids for one task: a set, so that a busy account is asked for once."""

    def __init__(self, *, task: str, queue: str, argument: str) -> None:
        self.task, self.queue, self.argument = task, queue, argument
        self.ids: set[Any] = set()
        self.messages = metrics.doorbell_messages(task=task)
        self.dropped = metrics.doorbell_dropped(task=task)

    def add(self, ids: Iterable[Any]) -> None:
        self.ids.update(ids)
        while len(self.ids) > _IDS_AT_MOST:
            self.ids.pop()
            self.dropped.inc()

    def take(self) -> list[Any]:
        return [self.ids.pop() for _ in range(min(len(self.ids), _IDS_IN_A_MESSAGE))]


class Doorbell:
    """The ids that gather in this process, and the thread that sends them."""

    def __init__(self) -> None:
        self.refresh = _Bell(task="ledger.tasks.refresh_balances", queue="refresh", argument="account_ids")
        self.inbox = _Bell(task="ledger.tasks.drain_inbox", queue="commands", argument="account_numbers")
        self.others: dict[str, _Bell] = {}
        self._lock = threading.Lock()
        self._rung = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: Any = None
        self._producer: Any = None

    def ring(self, bell: _Bell, ids: Iterable[Any]) -> None:
        with self._lock:
            bell.add(ids)
            if self._thread is None:
                self._start()
        if not self._rung.is_set():
            self._rung.set()

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="points-doorbell", daemon=True)
        # While the interpreter ends there are no new threads; the sweeper sees to the rest.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread
            # Not `atexit`, which a process of the web server, forked by multiprocessing, never runs.
            Finalize(None, self.end, exitpriority=10)

    def _run(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        is_last = False
        while not is_last:
            self._rung.wait()
            self._ending.wait(_GATHER_SECONDS)
            self._rung.clear()
            is_last = self._ending.is_set()
            if self._send_all():
                pause_seconds = _FIRST_PAUSE_SECONDS
            else:
                self._ending.wait(pause_seconds)
                pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)

    def _send_all(self) -> bool:
        """Send what has gathered. False when the broker did not take a message: that one is dropped."""
        for bell in (self.inbox, self.refresh, *list(self.others.values())):
            while True:
                with self._lock:
                    ids = bell.take()
                if not ids:
                    break
                try:
                    self._send(bell, ids)
                except Exception as error:
                    # Whatever a transport raises, this thread must live.
                    bell.dropped.inc(len(ids))
                    self._hang_up()
                    log.warning("doorbell_not_heard", task=bell.task, dropped=len(ids), error=str(error))
                    return False
                bell.messages.inc()
        return True

    def _send(self, bell: _Bell, ids: list[Any]) -> None:
        if self._producer is None:
            self._connect()
        current_app.send_task(
            bell.task,
            kwargs={bell.argument: ids},
            queue=bell.queue,
            producer=self._producer,
            retry=False,
            ignore_result=True,
            expires=_MESSAGE_EXPIRES_SECONDS,
        )

    def _connect(self) -> None:
        options = dict(current_app.conf.broker_transport_options or {})
        # With kombu's defaults a hung broker is waited for by the minute, retry upon retry.
        options |= {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
        for name in ("socket_timeout", "socket_connect_timeout"):
            if name in options:
                options[name] = _BROKER_TIMEOUT_SECONDS
        self._connection = current_app.connection_for_write(
            connect_timeout=_BROKER_TIMEOUT_SECONDS, transport_options=options
        )
        self._producer = current_app.amqp.Producer(self._connection, auto_declare=False)

    def _hang_up(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            with suppress(Exception):
                connection.release()

    def end(self) -> None:
        """Send what is left, for at most a second: at the end of the process."""
        thread = self._thread
        if thread is None:
            return
        self._ending.set()
        self._rung.set()
        thread.join(_AT_EXIT_SECONDS)


_doorbell = Doorbell()


def ring_refresh(account_ids: Iterable[int]) -> None:
    """Ask for these accounts' balances to be refreshed soon. Never blocks. Raises InsideTransaction."""
    refuse_inside_transaction("a refresh asked for")
    _doorbell.ring(_doorbell.refresh, account_ids)


def ring_inbox(account_numbers: Iterable[str]) -> None:
    """Ask for these accounts' inbox to be drained soon. Never blocks. Raises InsideTransaction."""
    refuse_inside_transaction("a drain of the inbox asked for")
    _doorbell.ring(_doorbell.inbox, account_numbers)


def ring(*, task: str, queue: str, argument: str, ids: Iterable[Any]) -> None:
    """Ask for another `task` soon, with these ids as its `argument`. Never blocks. Raises
    InsideTransaction."""
    refuse_inside_transaction(f"{task} asked for")
    bell = _doorbell.others.get(task)
    if bell is None:
        bell = _doorbell.others.setdefault(task, _Bell(task=task, queue=queue, argument=argument))
    _doorbell.ring(bell, ids)


def reset() -> None:
    """Start anew in a forked child: what has gathered is the parent's to send."""
    global _doorbell
    _doorbell = Doorbell()


os.register_at_fork(after_in_child=reset)
