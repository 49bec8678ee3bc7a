"""What differs between the servers that legacies run on: names of sessions, errors, how to end a session."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.db import Error, InterfaceError
from psycopg.pq import TransactionStatus

from legacy_bridge.errors import Busy, LegacyError, NotDone, OutcomeUnknown

Query = Callable[..., list[tuple[Any, ...]]]

#: How long a session that was told to end is waited for.
_END_SECONDS = 2.0


class RaisedError(NotDone):
    """The server answered with an error: one that a procedure raised (RAISE, SIGNAL, THROW), or one of the
    server's own, such as a broken constraint. The adapter knows which fact it stands for. Unless the
    procedure commits by itself, nothing was changed."""

    def __init__(
        self,
        *,
        sqlstate: str | None,
        number: int | None,
        message: str,
        detail: str = "",
        constraint: str = "",
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.number = number
        self.message = message
        self.detail = detail
        self.constraint = constraint


class Dialect(ABC):
    #: A CALL may answer with several result sets, and leaves one more for its own status.
    has_several_sets: ClassVar[bool] = False
    #: One statement outside of a transaction is done whole or not at all, a CALL too.
    is_one_statement_atomic: ClassVar[bool] = False
    #: Nothing that is called in a transaction of ours can end it, or lose what was done in it before, and
    #: go on as if nothing had been.
    keeps_transactions_whole: ClassVar[bool] = False
    #: Wait for locks only briefly, to the end of the transaction.
    hurry: ClassVar[tuple[str, ...]] = ()
    #: Begin a read-only transaction whose every statement sees one moment.
    begin_snapshot: ClassVar[tuple[str, ...]] = ()

    def tells_zones(self, description: Sequence[Any]) -> bool:
        """Whether a result set of these columns may have moments with a zone."""
        return True

    @abstractmethod
    def identity(self, query: Query) -> str:
        """What names the session that runs `query`, for as long as anybody may ask for it."""

    @abstractmethod
    def end(self, query: Query, identity: str) -> bool:
        """End the session named `identity`; whether it is gone for certain. Raises what `query` raises."""

    @abstractmethod
    def translate(self, error: Error) -> LegacyError:
        """What an error of the driver means for the call."""

    @abstractmethod
    def translate_commit(self, error: Error) -> LegacyError:
        """What an error in answer to a COMMIT means: OutcomeUnknown, unless it was certainly undone."""

    @abstractmethod
    def is_open(self, connection: Any) -> bool:
        """Whether the connection can be used again, without asking the server."""

    def has_open_transaction(self, connection: Any) -> bool | None:
        """Whether the server said with its last answer that a transaction is open; None where it does
        not say."""
        return None

    def has_failed(self, connection: Any) -> bool:
        """Whether the open transaction can only be rolled back: a COMMIT would do that without a word."""
        return False


def _quietly(query: Query, statement: str, parameters: Sequence[Any] = ()) -> None:
    """Run what may be refused: by a server on which we may not end sessions, or because it is gone."""
    try:
        query(statement, parameters)
    except NotDone:
        return


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
    # COMMIT and ROLLBACK in a procedure are refused there, and a handler of errors undoes its own block only.
    keeps_transactions_whole = True
    hurry = ("SET LOCAL lock_timeout = '100ms'",)
    begin_snapshot = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    _BUSY = frozenset({"55P03", "40001", "40P01"})
    #: The statement timeout, and somebody who cancelled the statement: it was rolled back.
    _CANCELLED = "57014"
    #: The session is ending, or the server is.
    _LOST_CLASSES = ("08", "57P")
    #: The server ends a session that rested in a transaction, and rolls it back.
    _TRANSACTION_ENDED = frozenset({"25P03", "25P04"})
    #: timestamptz. Whatever else holds one (an array, a range) was never put into UTC.
    _WITH_ZONE = 1184

    def tells_zones(self, description: Sequence[Any]) -> bool:
        return any(column[1] == self._WITH_ZONE for column in description)

    def identity(self, query: Query) -> str:
        ((pid, started),) = query(
            "SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        return f"{pid}|{started}"

    def end(self, query: Query, identity: str) -> bool:
        pid, _, started = identity.partition("|")

        def is_there() -> bool:
            # Of a session of another role we see the number only: it may be the one that is asked about.
            return bool(
                query(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
                    " AND (backend_start IS NULL OR backend_start = %s::timestamptz)",
                    [int(pid), started],
                )
            )

        return _until_gone(is_there, lambda: _quietly(query, "SELECT pg_terminate_backend(%s)", [int(pid)]))

    def translate(self, error: Error) -> LegacyError:
        cause: Any = error.__cause__ or error
        state: str | None = getattr(cause, "sqlstate", None)
        message = str(error).strip()
        if state is None or state.startswith(self._LOST_CLASSES):
            return OutcomeUnknown(message)
        if state in self._BUSY:
            return Busy(message)
        if state == self._CANCELLED or state in self._TRANSACTION_ENDED:
            return NotDone(message)
        diagnosis = cause.diag
        if diagnosis.severity_nonlocalized in ("FATAL", "PANIC"):
            return OutcomeUnknown(message)
        return RaisedError(
            sqlstate=state,
            number=None,
            message=diagnosis.message_primary or "",
            detail=diagnosis.message_detail or "",
            constraint=diagnosis.constraint_name or "",
        )

    def translate_commit(self, error: Error) -> LegacyError:
        # A COMMIT that is answered with an error was a ROLLBACK: a deferred constraint, a conflict.
        return self.translate(error)

    def is_open(self, connection: Any) -> bool:
        return connection is not None and not connection.closed and not connection.broken

    def has_failed(self, connection: Any) -> bool:
        return bool(connection.info.transaction_status == TransactionStatus.INERROR)


class MariaDB(Dialect):
    """MariaDB and MySQL, through PyMySQL.

    A transaction is not whole there: a deadlock undoes all of it, and a procedure whose handler takes the
    error goes on, in a new one.
    """

    has_several_sets = True
    begin_snapshot = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )
    _LOST = frozenset({0, 1053, 1152, 1158, 1159, 1160, 1161, 1927, 2003, 2006, 2013, 2055, 4031})
    _BUSY = frozenset({1205, 1213, 1020})
    #: KILL QUERY, and the statement timeouts of MariaDB and of MySQL.
    _CANCELLED = frozenset({1317, 1969, 3024})
    _IN_TRANSACTION = 1

    def tells_zones(self, description: Sequence[Any]) -> bool:
        return False

    def identity(self, query: Query) -> str:
        # The difference is the second in which the server was started, exactly: both take the same clock.
        statement = (
            "SELECT CONNECTION_ID(), ROUND(UNIX_TIMESTAMP() - VARIABLE_VALUE), CRC32(CURRENT_USER())"  # noqa: S608
            f" FROM {self._status_schema(query)}.GLOBAL_STATUS WHERE VARIABLE_NAME = 'UPTIME'"
        )
        ((number, started, user),) = query(statement)
        return f"{number}|{int(started)}|{user}"

    def _status_schema(self, query: Query) -> str:
        ((version,),) = query("SELECT VERSION()")
        return "information_schema" if "MariaDB" in version else "performance_schema"

    def end(self, query: Query, identity: str) -> bool:
        number, started, user = identity.split("|")
        _, server_started, our_user = self.identity(query).split("|")
        # Numbers of sessions begin anew with each start of the server.
        if abs(int(server_started) - int(started)) > 2:
            return True

        def is_there() -> bool:
            return bool(query("SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = %s", [int(number)]))

        if user != our_user and not is_there() and not _sees_every_session(query):
            return False
        # KILL takes no parameter.
        return _until_gone(is_there, lambda: _quietly(query, f"KILL CONNECTION {int(number):d}"))

    def translate(self, error: Error) -> LegacyError:
        cause: Any = error.__cause__ or error
        arguments: Sequence[Any] = cause.args
        # The driver reads the number as signed; SIGNAL may set any of 16 bits.
        number = arguments[0] & 0xFFFF if arguments and isinstance(arguments[0], int) else 0
        message = str(arguments[1]) if len(arguments) > 1 else str(error)
        if isinstance(error, InterfaceError) or number in self._LOST:
            return OutcomeUnknown(message)
        if number in self._BUSY:
            return Busy(message)
        if number in self._CANCELLED:
            return NotDone(message)
        return RaisedError(sqlstate=getattr(cause, "sqlstate", None), number=number, message=message)

    def translate_commit(self, error: Error) -> LegacyError:
        translated = self.translate(error)
        # A cluster refuses a commit that conflicts with a deadlock; of other errors nothing is promised.
        return translated if isinstance(translated, Busy) else OutcomeUnknown(str(error))

    def is_open(self, connection: Any) -> bool:
        return connection is not None and bool(connection.open)

    def has_open_transaction(self, connection: Any) -> bool | None:
        return bool(connection.server_status & self._IN_TRANSACTION)


def _sees_every_session(query: Query) -> bool:
    """Whether sessions of other users are listed for us on MariaDB; else not to see one is no proof."""
    return bool(
        query(
            "SELECT 1 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS'"
            " AND GRANTEE = CONCAT(%s, REPLACE(CURRENT_USER(), '@', %s), %s)",
            ["'", "'@'", "'"],
        )
    )


class SQLServer(Dialect):
    """Microsoft SQL Server through mssql-django. Written from its documentation; nobody has run it
    (docs/how-to/wrap-your-own-procedures.md)."""

    has_several_sets = True
    #: The database must allow it: ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON.
    begin_snapshot = ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT", "BEGIN TRANSACTION")
    #: Lock request timeout, and chosen as the victim of a deadlock.
    _BUSY = frozenset({1222, 1205})
    _LOST = ("08S01", "08001", "08003", "08007", "HYT01")
    #: The driver's query timeout: it cancels the batch, which is then as any that failed.
    _CANCELLED = "HYT00"
    #: The number of the server's error, as drivers put it behind the text: `... (50001) (SQLExecDirectW)`.
    _NUMBER = re.compile(r"\((\d{2,})\)")

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

        return _until_gone(is_there, lambda: _quietly(query, f"KILL {int(number):d}"))

    def translate(self, error: Error) -> LegacyError:
        text = str(error)
        if any(state in text for state in self._LOST):
            return OutcomeUnknown(text)
        if self._CANCELLED in text:
            return NotDone(text)
        numbers = [int(number) for number in self._NUMBER.findall(text)]
        if not numbers:
            return OutcomeUnknown(text)
        if self._BUSY.intersection(numbers):
            return Busy(text)
        return RaisedError(sqlstate=None, number=numbers[-1], message=text)

    def translate_commit(self, error: Error) -> LegacyError:
        return OutcomeUnknown(str(error))

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
