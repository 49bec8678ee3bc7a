"""Everything that happened on an account, newest first, in pages: operations with their entries, refused and
unfinished operations, and changes of its status.

Each of the three is read by an index of its own, and merged by time. A cursor names the last of each that
was shown, so nothing is counted and nothing is read twice, and pages stay where they were while rows are
added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby, islice
from typing import Any, Final
from uuid import UUID

from ledger.cursors import foreign_cursor
from ledger.database import fetch_all
from pointsystem.backoffice.support.operation_lines import OperationLine, operation_lines

PAGE_ROWS: Final = 25
#: An operation posts few entries on one account: an earn may settle a debt, a cancel may expire at once.
_MOST_ENTRIES: Final = 4

_LAST_ID: Final = UUID(int=2**128 - 1)
_LAST_NUMBER: Final = 2**62

_ENTRIES: Final = """
SELECT sequence, operation_id, recorded_at FROM ledger_entry
WHERE account_id = %s AND sequence < %s ORDER BY sequence DESC LIMIT %s
"""
_UNFINISHED: Final = """
SELECT id, recorded_at FROM ledger_operation
WHERE account_number = %s AND state <> 'completed' AND id < %s ORDER BY id DESC LIMIT %s
"""
_STATUS_CHANGES: Final = """
SELECT id, status, note, actor, recorded_at FROM ledger_account_status
WHERE account_id = %s AND id < %s ORDER BY id DESC LIMIT %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusLine:
    """The account was blocked, opened again or closed."""

    at: datetime
    status: str
    note: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelinePage:
    lines: Sequence[OperationLine | StatusLine]
    #: Opaque; None where the first thing that ever happened is on this page.
    older: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """The last of each source that was shown."""

    sequence: int = _LAST_NUMBER
    operation_id: UUID = _LAST_ID
    status_id: int = _LAST_NUMBER

    def text(self) -> str:
        return f"{self.sequence}_{self.operation_id.hex}_{self.status_id}"

    @classmethod
    def of(cls, text: str | None) -> "_Place":
        """Raises ValidationRefused for a cursor that no page gave."""
        if not text:
            return cls()
        parts = text.split("_")
        numbers = [part for part in (parts[0], parts[-1]) if part.isascii() and part.isdigit()]
        if len(parts) != 3 or len(numbers) != 2 or len(text) > 80 or len(parts[1]) != 32:
            raise foreign_cursor()
        try:
            return cls(int(parts[0]), UUID(parts[1]), int(parts[2]))
        except ValueError:
            raise foreign_cursor() from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """One line before it is filled: when, what, and the place after it."""

    at: datetime
    operation_id: UUID | None = None
    status: StatusLine | None = None
    sequence: int | None = None
    unfinished: UUID | None = None
    status_id: int | None = None


def timeline_page(
    *,
    account_id: int | None,
    account_number: str,
    older_than: str | None = None,
    rows: int = PAGE_ROWS,
    with_completed: bool = True,
) -> TimelinePage:
    """One page. `account_id` is None for an account that was never opened, which may have been refused.

    While another side decides, what was completed is its history to tell: `with_completed` leaves it out.
    Raises ValidationRefused for a cursor that no page gave, and DatabaseError.
    """
    place = _Place.of(older_than)
    sources: list[Iterable[_Found]] = [_unfinished(account_number, place, rows + 1)]
    if account_id is not None:
        if with_completed:
            sources.append(_operations(account_id, place, rows + 1))
        sources.append(_status_changes(account_id, place, rows + 1))
    found = list(islice(merge(*sources, key=lambda one: one.at, reverse=True), rows + 1))
    shown = found[:rows]
    lines = _filled(shown, account_id)
    return TimelinePage(lines=lines, older=_after(place, shown).text() if len(found) > rows else None)


def _operations(account_id: int, place: _Place, wanted: int) -> list[_Found]:
    """Completed operations by their entries. Those of one operation follow each other: it was one
    transaction under the account's lock."""
    limit = wanted * _MOST_ENTRIES
    rows = fetch_all(_ENTRIES, [account_id, place.sequence, limit])
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row[1])]
    if len(rows) == limit and len(groups) > 1:
        # The last one may go on behind the end.
        groups.pop()
    return [
        _Found(at=group[0][2].astimezone(UTC), operation_id=group[0][1], sequence=group[-1][0])
        for group in groups
    ]


def _unfinished(account_number: str, place: _Place, wanted: int) -> list[_Found]:
    rows = fetch_all(_UNFINISHED, [account_number, place.operation_id, wanted])
    return [_Found(at=row[1].astimezone(UTC), operation_id=row[0], unfinished=row[0]) for row in rows]


def _status_changes(account_id: int, place: _Place, wanted: int) -> list[_Found]:
    rows = fetch_all(_STATUS_CHANGES, [account_id, place.status_id, wanted])
    return [_Found(at=row[4].astimezone(UTC), status=_status_line(row), status_id=row[0]) for row in rows]


def _status_line(row: tuple[Any, ...]) -> StatusLine:
    return StatusLine(at=row[4].astimezone(UTC), status=row[1], note=row[2], actor=row[3])


def _filled(shown: Sequence[_Found], account_id: int | None) -> list[OperationLine | StatusLine]:
    ids = [one.operation_id for one in shown if one.operation_id is not None]
    operations = operation_lines(operation_ids=ids, account_id=account_id)
    lines: list[OperationLine | StatusLine] = []
    for one in shown:
        if one.status is not None:
            lines.append(one.status)
        elif one.operation_id is not None:
            lines.append(operations[one.operation_id])
    return lines


def _after(place: _Place, shown: Sequence[_Found]) -> _Place:
    sequence, operation_id, status_id = place.sequence, place.operation_id, place.status_id
    for one in shown:
        sequence = one.sequence if one.sequence is not None else sequence
        operation_id = one.unfinished or operation_id
        status_id = one.status_id if one.status_id is not None else status_id
    return _Place(sequence, operation_id, status_id)
