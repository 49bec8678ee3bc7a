"""The one place that opens cursors on the legacy database.

A call is bounded three times: by the number of calls of this process that are under way (so that a slow
legacy never takes every thread), by the legacy's own statement and lock timeouts, and by a deadline of our
own that cuts the connection when nothing comes back at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import structlog
from django.conf import settings
from django.db import DatabaseError, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from legacy_bridge import dialects
from legacy_bridge.deadlines import deadline, is_quiet
from legacy_bridge.errors import Busy, LegacyError, NotDone, OutcomeUnknown

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
        self._is_in_transaction = False
        self.dialect = dialects.of(database.vendor)
        #: How many statements the server has answered without an error.
        self.answered = 0
        #: A procedure was seen to commit by itself, within a transaction of ours.
        self.was_committed_inside = False

    @property
    def vendor(self) -> str:
        """`postgresql`, `mysql` (MariaDB too) or `microsoft`."""
        return self._database.vendor

    @property
    def is_in_transaction(self) -> bool:
        """Whether a transaction of ours is open."""
        return self._is_in_transaction

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
        try:
            sets = self._sets_of(statement, parameters)
        except Error as error:
            self._undo_what_was_left_open()
            self._raise(error)
        self.answered += 1
        if self._is_in_transaction and statement.lstrip()[:4].upper() in ("CALL", "EXEC"):
            is_open = self.dialect.has_open_transaction(self._database.connection)
            self.was_committed_inside = self.was_committed_inside or is_open is False
        return sets

    def _undo_what_was_left_open(self) -> None:
        """A procedure that begins a transaction, and fails without a handler, leaves it open: whatever came
        next on this connection would commit it."""
        if self._is_in_transaction or self.vendor != "mysql":
            return
        if self.dialect.is_open(self._database.connection):
            with suppress(Exception):
                self._database.connection.rollback()

    def _sets_of(self, statement: str, parameters: Sequence[Any]) -> list[list[tuple[Any, ...]]]:
        sets: list[list[tuple[Any, ...]]] = []
        with self._database.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            while True:
                if cursor.description is not None:
                    rows = cursor.fetchall()
                    if self.dialect.tells_zones(cursor.description):
                        rows = [tuple(map(_in_utc, row)) for row in rows]
                    sets.append(list(rows))
                if not self.dialect.has_several_sets or not cursor.nextset():
                    return sets

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit at the end of the block, or roll back; within a transaction the block just joins it.

        Whatever fails before the COMMIT was certainly not done; a COMMIT that was not answered is unknown.
        Raises NotDone, OutcomeUnknown.
        """
        if self._is_in_transaction:
            yield
            return
        self._begin()
        try:
            try:
                yield
            except OutcomeUnknown as error:
                if self.was_committed_inside:
                    raise
                # Without a COMMIT the server rolls back, whenever it finds us gone.
                raise NotDone(str(error)) from error
            if self.dialect.has_failed(self._database.connection):
                raise NotDone("An error of a statement was passed over, and the transaction is lost.")
            self._commit()
        except BaseException:
            with suppress(Error):
                self._database.rollback()
            raise
        finally:
            self._end()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have all that is read in the block be of one moment; it is read-only. Raises NotDone.

        A snapshot that was lost on the way is an error of the statement that found it lost.
        """
        if self._is_in_transaction:
            raise NotDone("A snapshot is a transaction of its own.")
        for statement in self.dialect.begin_snapshot:
            self.query(statement)
        self._is_in_transaction = True
        try:
            yield
        finally:
            self._is_in_transaction = False
            with suppress(LegacyError):
                self.query("ROLLBACK")

    def _begin(self) -> None:
        try:
            self._database.set_autocommit(False)
        except Error as error:
            raise NotDone(f"The legacy does not begin a transaction: {error}") from error
        self._is_in_transaction = True
        self.was_committed_inside = False

    def _commit(self) -> None:
        try:
            self._database.commit()
        except Error as error:
            self._raise(error, translate=self.dialect.translate_commit)

    def _end(self) -> None:
        self._is_in_transaction = False
        try:
            if self.dialect.is_open(self._database.connection):
                self._database.set_autocommit(True)
                return
        except Error as error:
            log.warning("legacy_connection_given_up", error=str(error).strip()[:500])
        # A connection that might not commit what comes next must not be used again.
        _close(self._database)

    def _raise(self, error: Error, *, translate: Callable[[Error], LegacyError] | None = None) -> NoReturn:
        translated = (translate or self.dialect.translate)(error)
        # An error that a procedure raises may be its way to refuse: the adapter says.
        write = log.info if isinstance(translated, dialects.RaisedError) else log.warning
        write("legacy_error", became=type(translated).__name__, error=str(error).strip()[:500])
        raise translated from error


def _in_utc(value: Any) -> Any:
    """A moment with a zone as the records want it; a local one is the adapter's to translate."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value


@contextmanager
def session(*, timeout_seconds: float | None = None) -> Iterator[Session]:
    """A session of this thread's own connection to the legacy, which is cut when it takes longer than
    `timeout_seconds` (the server's own timeouts stay those of the settings) and a moment.

    Raises Busy when as many calls as may be are under way, and NotDone when there is no connection.
    """
    places = _place()
    if not places.acquire(timeout=_WAIT_FOR_PLACE_SECONDS):
        raise Busy("As many calls of the legacy as may be are under way.")
    try:
        database = connections[ALIAS]
        _open(database)
        if timeout_seconds is None:
            timeout_seconds = settings.POINTS_LEGACY_TIMEOUT_SECONDS
        seconds = timeout_seconds + _GRACE_SECONDS
        is_sound = False
        try:
            with deadline(database, seconds=seconds) as watched:
                yield Session(database)
            is_sound = not watched.was_cut
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
        if database.connection is not None:
            has_rested = time.monotonic() - used_at > _TRUSTED_SECONDS
            # A server that hung up has said so: that costs no round trip to see.
            if has_rested or not is_quiet(database.connection):
                with deadline(database, seconds=_GRACE_SECONDS):
                    usable = database.is_usable()
                if not usable:
                    _close(database)
        # Django sets UTC. A procedure that writes LOCALTIMESTAMP must write what it writes for others.
        database.settings_dict["TIME_ZONE"] = settings.POINTS_LEGACY_TIME_ZONE
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
