"""What differs between the servers that legacies run on: names of sessions, errors, how to end a session."""

from __future__ import annotations

import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.db import Error, InterfaceError

from legacy_bridge.errors import Busy, LegacyError, NotDone, OutcomeUnknown

Query = Callable[..., list[tuple[Any, ...]]]

#: How long a session that was told to end is waited for.
_END_SECONDS = 2.0


class RaisedError(NotDone):
    """A procedure raised an error of its own (RAISE EXCEPTION, SIGNAL, THROW): the adapter knows which
    fact it stands for. Unless the procedure commits by itself, nothing was changed."""

    def __init__(self, *, sqlstate: str | None, number: int | None, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.number = number
        self.message = message
        self.detail = detail


class Dialect(ABC):
    #: A CALL may answer with several result sets, and leaves one more for its own status.
    has_several_sets: ClassVar[bool] = False
    #: One statement outside of a transaction is done whole or not at all, a CALL too.
    is_one_statement_atomic: ClassVar[bool] = False

    @abstractmethod
    def identity(self, query: Query) -> str:
        """What names the session that runs `query`, for as long as anybody may ask for it."""

    @abstractmethod
    def end(self, query: Query, identity: str) -> bool:
        """End the session named `identity`; whether it is gone for certain."""

    @abstractmethod
    def translate(self, error: Error) -> LegacyError:
        """What an error of the driver means for the call."""

    @abstractmethod
    def is_open(self, connection: Any) -> bool:
        """Whether the connection can be used again, without asking the server."""


def _until_gone(is_there: Callable[[], bool], end: Callable[[], Any]) -> bool:
    if not is_there():
        return True
    end()
    give_up_at = time.monotonic() + _END_SECONDS
    while is_there():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.05)
    return True


class PostgreSQL(Dialect):
    is_one_statement_atomic = True
    #: Raised by the procedures themselves: RAISE without a code, and the classes left to users.
    _OWN_CLASSES = ("P0", "45", "UE", "LP")
    _BUSY = frozenset({"55P03", "40001", "40P01"})
    #: The session is ending, or the server is.
    _LOST_CLASSES = ("08", "57P")

    def identity(self, query: Query) -> str:
        ((pid, started),) = query(
            "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        return f"{pid}|{started}"

    def end(self, query: Query, identity: str) -> bool:
        pid, _, started = identity.partition("|")

        def is_there() -> bool:
            return bool(
                query(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND backend_start = %s::timestamptz",
                    [int(pid), started],
                )
            )

        return _until_gone(is_there, lambda: query("SELECT pg_terminate_backend(%s)", [int(pid)]))

    def translate(self, error: Error) -> LegacyError:
        cause: Any = error.__cause__ or error
        state = getattr(cause, "sqlstate", None)
        if state is None or state.startswith(self._LOST_CLASSES):
            return OutcomeUnknown(str(error).strip())
        if state in self._BUSY:
            return Busy(str(error).strip())
        diagnosis = cause.diag
        if state.startswith(self._OWN_CLASSES):
            return RaisedError(
                sqlstate=state,
                number=None,
                message=diagnosis.message_primary or "",
                detail=diagnosis.message_detail or "",
            )
        return NotDone(str(error).strip())

    def is_open(self, connection: Any) -> bool:
        return connection is not None and not connection.closed and not connection.broken


class MariaDB(Dialect):
    """MariaDB and MySQL, through PyMySQL."""

    has_several_sets = True
    _LOST = frozenset({2003, 2006, 2013, 2055, 1053, 1927, 4031})
    _BUSY = frozenset({1205, 1213, 1020})
    #: SIGNAL without a number of its own; those above are left to users.
    _UNHANDLED_SIGNAL = 1644
    _FIRST_OWN = 30_000

    def identity(self, query: Query) -> str:
        ((number, started),) = query(
            "SELECT CONNECTION_ID(), ROUND(UNIX_TIMESTAMP() - VARIABLE_VALUE)"
            " FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'"
        )
        return f"{number}|{int(started)}"

    def end(self, query: Query, identity: str) -> bool:
        number, _, started = identity.partition("|")
        server_started = int(self.identity(query).partition("|")[2])
        # Both are rounded; numbers of sessions begin anew with each start of the server.
        if abs(server_started - int(started)) > 2:
            return True

        def is_there() -> bool:
            return bool(query("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s", [int(number)]))

        return _until_gone(is_there, lambda: _ended(query, int(number)))

    def translate(self, error: Error) -> LegacyError:
        arguments: Sequence[Any] = (error.__cause__ or error).args
        number = arguments[0] if arguments and isinstance(arguments[0], int) else 0
        message = str(arguments[1]) if len(arguments) > 1 else str(error)
        if isinstance(error, InterfaceError) or isinstance(error.__cause__, socket.timeout | OSError):
            return OutcomeUnknown(message)
        if number in self._LOST or number == 0:
            return OutcomeUnknown(message)
        if number in self._BUSY:
            return Busy(message)
        if number == self._UNHANDLED_SIGNAL or number >= self._FIRST_OWN:
            return RaisedError(sqlstate="45000", number=number, message=message)
        return NotDone(message)

    def is_open(self, connection: Any) -> bool:
        return connection is not None and bool(connection.open)


def _ended(query: Query, number: int) -> None:
    """KILL takes no parameter. Whoever is gone meanwhile answers with an error, which is what we want."""
    try:
        query(f"KILL CONNECTION {number:d}")
    except NotDone:
        return


class SQLServer(Dialect):
    """Microsoft SQL Server through mssql-django. Written from its documentation; nobody has run it
    (docs/how-to/wrap-your-own-procedures.md)."""

    has_several_sets = True
    _BUSY = frozenset({"1222", "1205", "40001"})
    _FIRST_OWN = 50_000

    def identity(self, query: Query) -> str:
        ((number, started),) = query(
            "SELECT session_id, CONVERT(varchar(33), login_time, 126)"
            " FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
        )
        return f"{number}|{started}"

    def end(self, query: Query, identity: str) -> bool:
        number, _, started = identity.partition("|")

        def is_there() -> bool:
            return bool(
                query(
                    "SELECT 1 FROM sys.dm_exec_sessions"
                    " WHERE session_id = %s AND CONVERT(varchar(33), login_time, 126) = %s",
                    [int(number), started],
                )
            )

        return _until_gone(is_there, lambda: query(f"KILL {int(number):d}"))

    def translate(self, error: Error) -> LegacyError:
        text = str(error)
        if any(state in text for state in ("08S01", "08001", "HYT00", "HYT01")):
            return OutcomeUnknown(text)
        number = next((int(word.strip("()")) for word in text.split() if word.strip("()").isdigit()), 0)
        if str(number) in self._BUSY:
            return Busy(text)
        if number >= self._FIRST_OWN:
            return RaisedError(sqlstate=None, number=number, message=text)
        return NotDone(text)

    def is_open(self, connection: Any) -> bool:
        return connection is not None


_DIALECTS: dict[str, Dialect] = {
    "postgresql": PostgreSQL(),
    "mysql": MariaDB(),
    "microsoft": SQLServer(),
}


def of(vendor: str) -> Dialect:
    """The dialect of a vendor as Django names it. Raises KeyError."""
    return _DIALECTS[vendor]
