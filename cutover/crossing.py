"""What clients hold of one side and bring to the other: ids of lines, and cursors of pages.

A client that reads page after page does not notice a switch: a cursor that the other side gave is translated
into the same place of this one's list. Lots stand in another order on each side; there a page after a switch
goes on behind the same lot.
"""

from typing import Final

from cutover import reading
from ledger.cursors import cursor_of, foreign_cursor, parts_of, uuid_of, whole_number_of
from ledger.database import fetch_one

_SEQUENCE_OF_ROW: Final = """
SELECT entry.sequence
FROM ledger_operation AS operation JOIN ledger_entry AS entry ON entry.operation_id = operation.id
WHERE operation.counterpart_id = %s AND operation.account_number = %s
ORDER BY entry.sequence LIMIT 1
"""
# An entry that the legacy has no row of (a lapse, a repair) gives way to its neighbour.
_ROW_NOT_BEFORE: Final = """
SELECT operation.counterpart_id
FROM ledger_account AS account
JOIN ledger_entry AS entry ON entry.account_id = account.id
JOIN ledger_operation AS operation ON operation.id = entry.operation_id
WHERE account.account_number = %s AND entry.sequence >= %s AND operation.counterpart_id IS NOT NULL
ORDER BY entry.sequence LIMIT 1
"""
_ROW_NOT_AFTER: Final = """
SELECT operation.counterpart_id
FROM ledger_account AS account
JOIN ledger_entry AS entry ON entry.account_id = account.id
JOIN ledger_operation AS operation ON operation.id = entry.operation_id
WHERE account.account_number = %s AND entry.sequence <= %s AND operation.counterpart_id IS NOT NULL
ORDER BY entry.sequence DESC LIMIT 1
"""
_LAPSES: Final = "SELECT expires_at FROM ledger_lot WHERE id = %s"


def history_cursor_for_ledger(cursor: str | None, *, account_number: str) -> str | None:
    """A cursor of the history, whichever side gave it, as the ledger's. Raises ValidationRefused."""
    direction, parts = parts_of(cursor)
    if cursor is None or len(parts) != reading.HISTORY_PARTS:
        return cursor
    row_id = reading.row_id_of(parts, account_number=account_number)
    found = fetch_one(_SEQUENCE_OF_ROW, [row_id, account_number])
    if found is None:
        raise foreign_cursor()
    return cursor_of(direction, [str(found[0])])


def history_cursor_for_legacy(cursor: str | None, *, account_number: str) -> str | None:
    """The same the other way; None for the beginning, where the legacy has nothing newer."""
    direction, parts = parts_of(cursor)
    if cursor is None or len(parts) != 1:
        return cursor
    statement = _ROW_NOT_BEFORE if direction == "n" else _ROW_NOT_AFTER
    found = fetch_one(statement, [account_number, whole_number_of(parts[0])])
    if found is None:
        return None
    return cursor_of(direction, reading.history_place(found[0], account_number=account_number))


def lots_cursor_for_ledger(cursor: str | None) -> str | None:
    """A cursor of the lots, whichever side gave it, as the ledger's. Raises ValidationRefused."""
    direction, parts = parts_of(cursor)
    if cursor is None or len(parts) != reading.LOTS_PARTS:
        return cursor
    found = fetch_one(_LAPSES, [uuid_of(parts[1])])
    if found is None:
        raise foreign_cursor()
    lapses = found[0].isoformat() if found[0] else ""
    return cursor_of(direction, [lapses, *parts])


def lots_cursor_for_legacy(cursor: str | None) -> str | None:
    """The same the other way."""
    direction, parts = parts_of(cursor)
    if cursor is None or len(parts) != 3:
        return cursor
    return cursor_of(direction, parts[1:])
