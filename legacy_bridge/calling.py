"""Helpers for every way in which procedures are called and answer.

Names are written by the adapter's author, never by a client, and are checked all the same; values are
always bound. Where a server needs explicit types, give them as `Typed("...", "bigint")`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from legacy_bridge.errors import AnswerInvalid, NotRepresentable
from legacy_bridge.sessions import Session

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}")
_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\d+(, ?\d+)?\))?")


@dataclass(frozen=True, slots=True)
class Typed:
    """A value with the legacy's own type, for servers that choose a procedure by the types."""

    value: Any
    type: str


@dataclass(frozen=True, slots=True)
class Out:
    """An OUT argument; its type is needed on SQL Server only."""

    type: str = ""


@dataclass(frozen=True, slots=True)
class InOut:
    """An INOUT argument with the value that goes in."""

    value: Any
    type: str = ""


def call_function(session: Session, name: str, arguments: Sequence[Any] = ()) -> Any:
    """`SELECT name(...)`: the single value of a function."""
    marks, values = _bound(arguments)
    rows = session.query(f"SELECT {_checked_name(name)}({marks})", values)
    return one(rows)[0]


def select_function(session: Session, name: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """`SELECT * FROM name(...)`: the rows, or the one composite row, of a function (PostgreSQL)."""
    marks, values = _bound(arguments)
    return session.query(f"SELECT * FROM {_checked_name(name)}({marks})", values)  # noqa: S608


def call_procedure(session: Session, name: str, arguments: Sequence[Any] = ()) -> tuple[Any, ...]:
    """`CALL name(...)` with IN, `Out()` and `InOut()` arguments in their order: the values that came out."""
    _checked_name(name)
    if session.vendor == "postgresql":
        return _call_postgresql(session, name, arguments)
    if session.vendor == "mysql":
        return _call_mariadb(session, name, arguments)
    return _call_sql_server(session, name, arguments)


def call_result_sets(
    session: Session, name: str, arguments: Sequence[Any] = ()
) -> list[list[tuple[Any, ...]]]:
    """`CALL name(...)` of a procedure that answers by result sets (MariaDB, SQL Server): each of them."""
    marks, values = _bound(arguments)
    if session.vendor == "microsoft":
        return session.query_sets(f"SET NOCOUNT ON; EXEC {_checked_name(name)} {marks}", values)
    return session.query_sets(f"CALL {_checked_name(name)}({marks})", values)


def call_cursors(session: Session, name: str, arguments: Sequence[Any] = ()) -> list[list[tuple[Any, ...]]]:
    """`SELECT name(...)` of a function that answers by cursors (PostgreSQL, `SETOF refcursor`): the rows of
    each. Cursors live in a transaction; the call joins the one that is open, or makes its own."""
    with session.transaction():
        names = [row[0] for row in select_function(session, name, arguments)]
        quoted = ['"' + text(cursor).replace('"', '""') + '"' for cursor in names]
        return [session.query(f"FETCH ALL IN {cursor}") for cursor in quoted]


# --- passing arguments --------------------------------------------------------------------------------------
def key(value: str, *, length: int) -> str:
    """A key as the legacy can keep it: in a CHAR or VARCHAR of `length`. Raises NotRepresentable.

    What is too long would be cut or refused, and blanks at the end would be lost: another key either way.
    """
    if len(value) > length or value != value.rstrip(" "):
        raise NotRepresentable(f"The legacy keeps no key like this in {length} characters.")
    return value


# --- reading answers --------------------------------------------------------------------------------------
def one(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The only row. Raises AnswerInvalid."""
    if len(rows) != 1:
        raise AnswerInvalid(f"{len(rows)} rows where one should be")
    return rows[0]


def whole(value: Any) -> int:
    """A whole number of points, whatever numeric type it came in. Raises AnswerInvalid."""
    if type(value) is int:
        return value
    if isinstance(value, bool) or value is None:
        raise AnswerInvalid(f"{value!r} where a whole number should be")
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise AnswerInvalid(f"{value!r} where a whole number should be") from error
    if number != value and str(number) != str(value).strip():
        raise AnswerInvalid(f"{value!r} where a whole number should be")
    return number


def not_negative(value: Any) -> int:
    """A balance or a remainder. Raises AnswerInvalid."""
    number = whole(value)
    if number < 0:
        raise AnswerInvalid(f"{number} where nothing negative should be")
    return number


def text(value: Any) -> str:
    """A key or a code without the blanks that CHAR columns pad with. Raises AnswerInvalid."""
    if not isinstance(value, str):
        raise AnswerInvalid(f"{value!r} where text should be")
    return value.rstrip(" ")


def moment(value: Any) -> datetime:
    """A local time without a zone, also where an OUT argument or JSON made text of it.

    Raises AnswerInvalid.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise AnswerInvalid(f"{value!r} where a moment should be") from error
    if not isinstance(value, datetime) or value.tzinfo is not None:
        raise AnswerInvalid(f"{value!r} where a local moment should be")
    return value


# --- how each server is called ------------------------------------------------------------------------------
def _call_postgresql(session: Session, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """OUT and INOUT arguments come back as one row; an OUT argument stands in the call as NULL."""
    nothing = [
        Typed(None, argument.type) if isinstance(argument, Out) else argument for argument in arguments
    ]
    marks, values = _bound(nothing)
    rows = session.query(f"CALL {name}({marks})", values)
    return tuple(rows[0]) if rows else ()


def _call_mariadb(session: Session, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """OUT and INOUT arguments are variables of the session, read after the call. What an earlier call left
    in one is never taken for an answer: the server makes every OUT argument NULL when a call begins."""
    marks: list[str] = []
    values: list[Any] = []
    variables: list[str] = []
    given: list[tuple[str, Any]] = []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Out | InOut):
            variable = f"@pointsystem_{position}"
            if isinstance(argument, InOut):
                given.append((variable, argument.value))
            variables.append(variable)
            marks.append(variable)
        else:
            marks.append("%s")
            values.append(argument.value if isinstance(argument, Typed) else argument)
    if given:
        assignments = ", ".join(f"{variable} = %s" for variable, _ in given)
        session.query(f"SET {assignments}", [value for _, value in given])
    session.query_sets(f"CALL {name}({', '.join(marks)})", values)
    return one(session.query(f"SELECT {', '.join(variables)}")) if variables else ()


def _call_sql_server(session: Session, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """OUTPUT arguments are declared, passed and selected in one batch. Nobody has run this."""
    batch = ["SET NOCOUNT ON"]
    marks: list[str] = []
    outs: list[str] = []
    # Values stand in the order of their marks, and those of the declarations come first.
    declared_values: list[Any] = []
    passed_values: list[Any] = []
    for position, argument in enumerate(arguments):
        if isinstance(argument, Out | InOut):
            variable = f"@pointsystem_{position}"
            declaration = f"DECLARE {variable} {_checked_type(argument.type)}"
            if isinstance(argument, InOut):
                declaration += " = %s"
                declared_values.append(argument.value)
            batch.append(declaration)
            marks.append(f"{variable} OUTPUT")
            outs.append(variable)
        else:
            marks.append("%s")
            passed_values.append(argument.value if isinstance(argument, Typed) else argument)
    batch.append(f"EXEC {name} {', '.join(marks)}")
    if outs:
        batch.append(f"SELECT {', '.join(outs)}")
    sets = session.query_sets("; ".join(batch), [*declared_values, *passed_values])
    return one(sets[-1]) if outs else ()


def _bound(arguments: Sequence[Any]) -> tuple[str, list[Any]]:
    marks: list[str] = []
    values: list[Any] = []
    for argument in arguments:
        if isinstance(argument, Typed | InOut) and argument.type:
            marks.append(f"CAST(%s AS {_checked_type(argument.type)})")
        else:
            marks.append("%s")
        values.append(argument.value if isinstance(argument, Typed | InOut) else argument)
    return ", ".join(marks), values


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a procedure")
    return name


def _checked_type(name: str) -> str:
    if not _TYPE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a type")
    return name
