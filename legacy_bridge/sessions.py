"""The one place that opens cursors on the legacy database.

A call is bounded three times: by the number of calls of this process that are under way (so that a slow
legacy never takes every thread), by the legacy's own statement and lock timeouts, and by a deadline of our
own that cuts the connection when nothing comes back at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

import structlog
from django.conf import settings
from django.db import DatabaseError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from legacy_bridge import dialects
from legacy_bridge.deadlines import deadline
from legacy_bridge.errors import Busy, NotDone, OutcomeUnknown

log = structlog.get_logger(__name__)

ALIAS: Final = "legacy"

#: A request that finds all places taken waits no longer than this for one.
_WAIT_FOR_PLACE_SECONDS: Final = 0.25
#: What the server is given to say that its own timeout came, before we cut the connection.
_GRACE_SECONDS: Final = 1.0
#: A connection that rested longer is asked whether it still lives: what it then fails at was never sent.
_TRUSTED_SECONDS: Final = 1.0

_places: threading.BoundedSemaphore | None = None
_places_lock = threading.Lock()


def _place() -> threading.BoundedSemaphore:
    global _places
    with _places_lock:
        if _places is None:
            _places = threading.BoundedSemaphore(settings.POINTS_LEGACY_MOST_CALLS)
        return _places


def is_configured() -> bool:
    """Whether LEGACY_DATABASE_URL names a legacy."""
    return ALIAS in settings.DATABASES


class Session:
    """An open connection to the legacy, for the length of one call."""

    def __init__(self, database: BaseDatabaseWrapper) -> None:
        self._database = database
        self.dialect = dialects.of(database.vendor)

    @property
    def vendor(self) -> str:
        """`postgresql`, `mysql` (MariaDB too) or `microsoft`."""
        return self._database.vendor

    @property
    def identity(self) -> str:
        """Names this connection for ever: two sessions of one legacy never have the same."""
        kept: tuple[Any, str] | None = getattr(self._database, "points_identity", None)
        if kept is None or kept[0] is not self._database.connection:
            kept = (self._database.connection, self.dialect.identity(self.query))
            self._database.points_identity = kept  # type: ignore[attr-defined]
        return kept[1]

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement with bound parameters; the rows of its only result set.

        Raises RaisedError, Busy, NotDone, OutcomeUnknown.
        """
        sets = self.query_sets(statement, parameters)
        return sets[0] if sets else []

    def query_sets(self, statement: str, parameters: Sequence[Any] = ()) -> list[list[tuple[Any, ...]]]:
        """Run one statement with bound parameters; the rows of each of its result sets."""
        sets: list[list[tuple[Any, ...]]] = []
        try:
            with self._database.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                while True:
                    if cursor.description is not None:
                        sets.append([tuple(row) for row in cursor.fetchall()])
                    if not self.dialect.has_several_sets or not cursor.nextset():
                        return sets
        except Error as error:
            self._raise(error)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, or roll back. Whatever fails before the COMMIT was certainly
        not done; a COMMIT that was not answered is unknown. Raises NotDone, OutcomeUnknown."""
        self._database.set_autocommit(False)
        try:
            try:
                yield
            except OutcomeUnknown as error:
                # Without a COMMIT the server rolls back, whenever it finds us gone.
                raise NotDone(str(error)) from error
            try:
                self._database.commit()
            except Error as error:
                raise OutcomeUnknown(f"The commit was not answered: {error}") from error
        except BaseException:
            with suppress(Error):
                self._database.rollback()
            raise
        finally:
            if self._database.connection is not None and not self._database.closed_in_transaction:
                with suppress(Error):
                    self._database.set_autocommit(True)

    def _raise(self, error: Error) -> NoReturn:
        translated = self.dialect.translate(error)
        log.warning(
            "legacy_error",
            became=type(translated).__name__,
            error=str(error).strip()[:500],
        )
        raise translated from error


@contextmanager
def session(*, timeout_seconds: float | None = None) -> Iterator[Session]:
    """A session of this thread's own connection to the legacy.

    Raises Busy when as many calls as may be are under way, and NotDone when there is no connection.
    """
    places = _place()
    if not places.acquire(timeout=_WAIT_FOR_PLACE_SECONDS):
        raise Busy("As many calls of the legacy as may be are under way.")
    try:
        database = connections[ALIAS]
        _open(database)
        seconds = (timeout_seconds or settings.POINTS_LEGACY_TIMEOUT_SECONDS) + _GRACE_SECONDS
        is_sound = False
        try:
            with deadline(database, seconds=seconds):
                yield Session(database)
            is_sound = True
        except OutcomeUnknown:
            raise
        except (NotDone, DatabaseError):
            # An error that the server told us of leaves the connection as it was.
            is_sound = dialects.of(database.vendor).is_open(database.connection)
            raise
        except Exception:
            is_sound = True
            raise
        finally:
            if is_sound:
                database.points_used_at = time.monotonic()  # type: ignore[attr-defined]
            else:
                _close(database)
    finally:
        places.release()


def _open(database: BaseDatabaseWrapper) -> None:
    used_at = getattr(database, "points_used_at", 0.0)
    try:
        if database.connection is not None and time.monotonic() - used_at > _TRUSTED_SECONDS:
            with deadline(database, seconds=_GRACE_SECONDS):
                usable = database.is_usable()
            if not usable:
                _close(database)
        database.ensure_connection()
    except Error as error:
        _close(database)
        raise NotDone(f"The legacy does not answer: {str(error).strip()[:200]}") from error


def _close(database: BaseDatabaseWrapper) -> None:
    with suppress(Exception):
        database.close()
    database.connection = None
    database.closed_in_transaction = False
    database.needs_rollback = False


def forget() -> None:
    """Close this thread's connection, and count places anew (tests, and after a fork)."""
    global _places
    if is_configured():
        _close(connections[ALIAS])
    with _places_lock:
        _places = None
