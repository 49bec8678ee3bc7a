"""Cursors: opaque to clients, a place in an order to us.

A cursor names the row at the end of its page and the direction to read on in, so pages stay where they
were while rows are added. One that no list gave is refused, and never an error of the database.
"""

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.errors import ValidationRefused


def cut(
    rows: list[tuple[Any, ...]], page_size: int, position: list[str] | None, backwards: bool, *, key: Any
) -> tuple[list[tuple[Any, ...]], str | None, str | None]:
    """Cut the one row too many, put a backward page in order, and make the cursors of both ends.

    `key` gives the texts that name a row's place in the order.
    """
    has_more = len(rows) > page_size
    rows = rows[:page_size]
    if backwards:
        rows.reverse()
    has_next = bool(rows) and (backwards or has_more)
    has_previous = bool(rows) and ((not backwards and position is not None) or (backwards and has_more))
    return (
        rows,
        cursor_of("n", key(rows[-1])) if has_next else None,
        cursor_of("p", key(rows[0])) if has_previous else None,
    )


def cursor_of(direction: str, position: list[str]) -> str:
    """The cursor that names a place; `direction` is `n` (what comes after it) or `p` (what came before)."""
    return base64.urlsafe_b64encode("|".join([direction, *position]).encode()).decode().rstrip("=")


def parts_of(cursor: str | None) -> tuple[str, list[str]]:
    """The direction of `cursor` and the texts of its place, however many. Raises ValidationRefused."""
    if cursor is None:
        return "n", []
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        direction, *position = (
            base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split("|")
        )
    except (binascii.Error, ValueError):
        raise foreign_cursor() from None
    if direction not in ("n", "p"):
        raise foreign_cursor()
    return direction, position


def position_of(cursor: str | None, *, parts: int) -> tuple[list[str] | None, bool]:
    """The place that `cursor` names, as `parts` texts, and whether it reads backwards.

    None is the beginning. Raises ValidationRefused.
    """
    direction, position = parts_of(cursor)
    if cursor is None:
        return None, False
    if len(position) != parts:
        raise foreign_cursor()
    return position, direction == "p"


def foreign_cursor() -> ValidationRefused:
    """What a cursor that no list gave is refused with."""
    return ValidationRefused(
        field="cursor", field_code="invalid", detail="This cursor was not given by this list."
    )


def uuid_of(text: str) -> UUID:
    """A part of a place as an id. Raises ValidationRefused."""
    try:
        return UUID(text)
    except ValueError:
        raise foreign_cursor() from None


def instant_of(text: str) -> datetime:
    """A part of a place as an instant. Raises ValidationRefused."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise foreign_cursor() from None
    if instant.tzinfo is None:
        raise foreign_cursor()
    return instant


def whole_number_of(text: str) -> int:
    """A part of a place as a number. Raises ValidationRefused."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise foreign_cursor()
    return int(text)
