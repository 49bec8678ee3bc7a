"""The few ways in which the ledger talks to PostgreSQL beside the ORM.

The hot statements go to psycopg itself, over Django's own connection and inside Django's own
transactions, so that they are prepared once per connection
(docs/adr/0004-the-write-path.md). Errors come out as Django's.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Final, NoReturn

import psycopg
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    transaction,
)
from psycopg import errors as pg
from psycopg.pq import Format, TransactionStatus

from ledger.errors import AccountBusy, DatabaseUnavailable, OperationInProgress

Parameters = Mapping[str, Any] | Sequence[Any]

_PLACEHOLDER: Final = re.compile(r"%%|%s|%\((\w+)\)s")


def fetch_all(statement: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
    """Run one prepared statement and return its rows."""
    # Django looks the connection up anew at every attribute: once is enough.
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    with database.wrap_database_errors:
        return _rows(_sent(database.connection, statement, parameters))


def fetch_each(statements: Sequence[tuple[str, Parameters]]) -> list[list[tuple[Any, ...]]]:
    """Run prepared statements one after the other in one round trip, and return the rows of each.

    Each has a snapshot of its own, as in READ COMMITTED: a statement sees what committed while the
    one before it waited for a lock.
    """
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    with database.wrap_database_errors:
        with database.connection.pipeline():
            cursors = [_sent(database.connection, *statement) for statement in statements]
        return [_rows(cursor) for cursor in cursors]


def commit_each(statements: Sequence[tuple[str, Parameters]]) -> list[list[tuple[Any, ...]]]:
    """Run prepared statements as one transaction, BEGIN and COMMIT among them, in one round trip.

    Each has a snapshot of its own. Inside of a transaction of the caller's, they are a part of it. Raises
    what the first of them that failed raised; nothing is kept then.
    """
    database = connections[DEFAULT_DB_ALIAS]
    if database.in_atomic_block:
        with transaction.atomic():
            return fetch_each(statements)
    database.ensure_connection()
    with database.wrap_database_errors:
        session = database.connection
        try:
            with session.pipeline():
                cursors = [
                    _sent(session, *statement) for statement in (("BEGIN", ()), *statements, ("COMMIT", ()))
                ]
            return [_rows(cursor) for cursor in cursors][1:-1]
        except BaseException:
            if not session.closed and session.info.transaction_status != TransactionStatus.IDLE:
                session.rollback()
            raise


def commit_as_one(statements: Sequence[tuple[str, Parameters]]) -> None:
    """Run these as one statement, and so as one transaction: one round trip, and nothing to begin or commit.

    Writes (INSERT, UPDATE, DELETE without WITH or RETURNING) must be of different rows, for all of them see
    the same snapshot; selects are of functions called for what they refuse, which see what is committed when
    they are called. Raises what `commit_each` raises.
    """
    text, names = _folded(tuple(text for text, _ in statements))
    parameters: dict[str, Any] = {}
    for step, (_, given) in enumerate(statements):
        values = given.items() if isinstance(given, Mapping) else enumerate(given)
        parameters.update((f"step_{step}_{name}", value) for name, value in values)
    fetch_in_savepoint(text, {name: parameters[name] for name in names})


def fetch_in_savepoint(statement: str, parameters: Parameters) -> list[tuple[Any, ...]]:
    """Run one statement that stands for itself, also within a transaction of the caller's, which goes on
    when it is refused; its rows."""
    if not connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return fetch_all(statement, parameters)
    with transaction.atomic():
        return fetch_all(statement, parameters)


@lru_cache(maxsize=64)
def _folded(texts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """One statement that does what `texts` do, and the names of its parameters."""
    writes: list[str] = []
    calls: list[str] = []
    names: list[str] = []
    for step, text in enumerate(texts):
        position = count()

        def name(found: re.Match[str], step: int = step, position: Iterator[int] = position) -> str:
            if found[0] == "%%":
                return "%%"
            names.append(f"step_{step}_{next(position) if found[1] is None else found[1]}")
            return f"%({names[-1]})s"

        own = _PLACEHOLDER.sub(name, text).strip()
        if own.startswith("SELECT "):
            calls.append(own.removeprefix("SELECT "))
        else:
            writes.append(f"step_{step} AS ({own} RETURNING 1)")
    return f"WITH {', '.join(writes)} SELECT {', '.join(calls) or '1'}", tuple(dict.fromkeys(names))


def _sent(
    session: psycopg.Connection[tuple[Any, ...]], statement: str, parameters: Parameters
) -> psycopg.Cursor[tuple[Any, ...]]:
    """A cursor on which the statement was sent, bound by the server.

    Results come in binary, which psycopg decodes in C where Django's own text loaders would not.
    """
    text, names = _numbered(statement)
    cursor = psycopg.RawCursor(session)
    cursor.format = Format.BINARY
    if isinstance(parameters, Mapping):
        parameters = [parameters[name] for name in names]
    cursor.execute(text, parameters, prepare=True)
    return cursor


#: What stands for something else in the text of a COPY.
_IN_COPY: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_columns(statement: str, columns: Sequence[Sequence[str | int | None]]) -> None:
    """Send rows, given by their columns, to `COPY ... FROM STDIN`: the fastest way in, past the same
    constraints and triggers as any other. Raises what they refuse."""
    lines = map("\t".join, zip(*map(_copied, columns), strict=True))
    database = connections[DEFAULT_DB_ALIAS]
    database.ensure_connection()
    with database.wrap_database_errors, psycopg.Cursor(database.connection).copy(statement.encode()) as copy:
        copy.write("\n".join(lines))


def _copied(values: Sequence[str | int | None]) -> list[str]:
    texts = ["" if value is None else str(value) for value in values]
    # Looked for in the whole column at once: there is next to never one.
    column = "".join(texts)
    if any(special in column for special in ("\\", "\t", "\n", "\r")):
        texts = [text.translate(_IN_COPY) for text in texts]
    return [r"\N" if value is None else text for value, text in zip(values, texts, strict=True)]


@lru_cache(maxsize=256)
def _numbered(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """`statement` with PostgreSQL's own $1, $2, ... for its placeholders, and their names in that order.

    psycopg would do the same at every execution; done once, a third of what an execution costs in
    this process is saved.
    """
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if found[0] == "%%":
            return "%"
        if name is None or name not in names:
            names.append(name or "")
            return f"${len(names)}"
        return f"${names.index(name) + 1}"

    text = _PLACEHOLDER.sub(number, statement)
    return text.encode(), tuple(names)


def _rows(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


def fetch_one(statement: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
    """Run one prepared statement and return its first row, or None."""
    rows = fetch_all(statement, parameters)
    return rows[0] if rows else None


def from_jsonb(value: Any) -> Any:
    """A jsonb column as it stands: Django leaves it as text, so that its own field can decode it."""
    return json.loads(value) if isinstance(value, str | bytes) else value


def is_lock_timeout(error: DatabaseError) -> bool:
    return isinstance(error.__cause__, pg.LockNotAvailable)


def violated_constraint(error: DatabaseError) -> str | None:
    """The name of the constraint or guarding trigger that refused, or None."""
    cause = error.__cause__
    return cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None


#: Another transaction was in the way; running again from the start is safe and may succeed.
RETRIABLE = (pg.DeadlockDetected, pg.SerializationFailure)


def is_retriable(error: DatabaseError) -> bool:
    return isinstance(error.__cause__, RETRIABLE)


def raise_refusal(error: DatabaseError) -> NoReturn:
    """Turn what PostgreSQL said into a typed refusal; what is our own mistake stays as it is.

    Raises AccountBusy or OperationInProgress for a lock timeout (by what was waited for),
    DatabaseUnavailable for a lost, refused, cancelled or read-only session and a full disk.
    """
    cause = error.__cause__
    if isinstance(cause, pg.LockNotAvailable):
        context = cause.diag.context or ""
        if "ledger_account" in context or "ledger_stale_balance" in context:
            raise AccountBusy(
                "Another operation on this account takes longer than the lock timeout."
            ) from error
        if "PL/pgSQL function" in context:
            # A trigger waits for whoever changes what it asks for.
            raise AccountBusy("Who decides on this account is being changed.") from error
        raise OperationInProgress("An operation with this key is still being run.") from error
    if isinstance(cause, RETRIABLE):
        raise AccountBusy("Operations on these accounts got in each other's way.") from error
    if isinstance(error, OperationalError | InterfaceError) or isinstance(
        cause,
        pg.QueryCanceled | pg.ReadOnlySqlTransaction | pg.InsufficientResources | pg.OperatorIntervention,
    ):
        raise DatabaseUnavailable("The database did not answer.") from error
    raise error
