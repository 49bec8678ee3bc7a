"""The rows of long runs: who holds one, how far it is, and how fast (`cutover.models.Run`).

One run of a kind is open at a time. Whoever works holds it by a lease, which a dead process lets go by
itself; what was done is kept in the transaction that did it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cutover.models import RunKind
from ledger.database import commit_each, fetch_all, fetch_one, from_jsonb

#: A process that has not reported for so long is dead.
LEASE_SECONDS: Final = 30.0

_COLUMNS: Final = """
id, kind, parameters, cursor, accounts_total, accounts_done, rows_done, counts, started_at, changed_at,
finished_at, last_error, coalesce(leased_until > clock_timestamp(), false)
"""
_OPEN: Final = """
INSERT INTO cutover_run (
    kind, parameters, accounts_total, counts, started_at, changed_at, accounts_done, rows_done, last_error
) VALUES (%s, %s::jsonb, %s, '{}'::jsonb, clock_timestamp(), clock_timestamp(), 0, 0, '')
ON CONFLICT (kind) WHERE finished_at IS NULL DO NOTHING
"""
_TAKE: Final = f"""
UPDATE cutover_run
SET leased_until = clock_timestamp() + %s * interval '1 second', changed_at = clock_timestamp(),
    last_error = ''
WHERE kind = %s AND finished_at IS NULL AND coalesce(leased_until <= clock_timestamp(), true)
RETURNING {_COLUMNS}
"""  # noqa: S608
_ADVANCE: Final = """
UPDATE cutover_run
SET cursor = %(cursor)s, accounts_done = accounts_done + %(accounts)s, rows_done = rows_done + %(rows)s,
    counts = %(counts)s::jsonb, changed_at = clock_timestamp(),
    leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND finished_at IS NULL AND changed_at = %(changed_at)s
RETURNING changed_at
"""
_LET_GO: Final = """
UPDATE cutover_run SET leased_until = NULL, last_error = %s, changed_at = clock_timestamp()
WHERE id = %s AND changed_at = %s
RETURNING changed_at
"""
_FINISH: Final = """
UPDATE cutover_run
SET finished_at = clock_timestamp(), leased_until = NULL, counts = %s::jsonb, changed_at = clock_timestamp()
WHERE id = %s AND changed_at = %s AND finished_at IS NULL
RETURNING changed_at
"""
_LATEST: Final = f"""
SELECT {_COLUMNS} FROM cutover_run WHERE kind = %s ORDER BY id DESC LIMIT 1
"""  # noqa: S608
_LATEST_FINISHED: Final = f"""
SELECT {_COLUMNS} FROM cutover_run WHERE kind = ANY (%s) AND finished_at IS NOT NULL ORDER BY id DESC LIMIT 1
"""  # noqa: S608


class RunIsHeld(Exception):
    """Somebody else works on it."""


class Overtaken(Exception):
    """Somebody else took the run over: this process stood still for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is. `seconds_left` is None where nobody can tell."""

    id: int
    kind: RunKind
    parameters: Mapping[str, Any]
    cursor: str | None
    accounts_total: int | None
    accounts_done: int
    rows_done: int
    counts: Mapping[str, Any]
    started_at: datetime
    changed_at: datetime
    finished_at: datetime | None
    last_error: str
    #: Somebody works on it now.
    is_held: bool

    @property
    def seconds_left(self) -> float | None:
        if self.finished_at is not None:
            return 0.0
        if not self.accounts_total or not self.accounts_done:
            return None
        passed = (self.changed_at - self.started_at).total_seconds()
        return passed / self.accounts_done * max(0, self.accounts_total - self.accounts_done)


class HeldRun:
    """A run while this process works on it."""

    def __init__(self, progress: Progress) -> None:
        self.id = progress.id
        self.parameters = progress.parameters
        self.cursor = progress.cursor
        self.counts: dict[str, Any] = dict(progress.counts)
        self.accounts_done = progress.accounts_done
        self.rows_done = progress.rows_done
        self._changed_at = progress.changed_at
        self._before = self._state()

    def advance(self, *, cursor: str | None, accounts: int, rows: int) -> None:
        """Note what is done now, in the caller's transaction. Raises Overtaken."""
        row = fetch_one(
            _ADVANCE,
            {
                "id": self.id,
                "cursor": cursor,
                "accounts": accounts,
                "rows": rows,
                "counts": _json(self.counts),
                "lease": LEASE_SECONDS,
                "changed_at": self._changed_at,
            },
        )
        self._changed_at = _own(row)
        self.cursor = cursor
        self.accounts_done += accounts
        self.rows_done += rows

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """What was noted in a transaction that is rolled back was not noted."""
        self._before = self._state()
        try:
            yield
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        self.cursor, self.accounts_done, self.rows_done, self._changed_at, counts = self._before
        self.counts = dict(counts)

    def _state(self) -> tuple[str | None, int, int, datetime, dict[str, Any]]:
        return self.cursor, self.accounts_done, self.rows_done, self._changed_at, dict(self.counts)

    def let_go(self, *, error: str = "") -> None:
        """Leave it for whoever goes on."""
        commit_each([(_LET_GO, [error[:2000], self.id, self._changed_at])])

    def finish(self) -> None:
        """Raises Overtaken."""
        (rows,) = commit_each([(_FINISH, [_json(self.counts), self.id, self._changed_at])])
        _own(rows[0] if rows else None)


def hold(kind: RunKind, *, parameters: Mapping[str, Any], accounts_total: int | None) -> HeldRun:
    """Go on with the open run of this kind, or begin one. Raises RunIsHeld."""
    begin(kind, parameters=parameters, accounts_total=accounts_total)
    (rows,) = commit_each([(_TAKE, [LEASE_SECONDS, kind.value])])
    if not rows:
        raise RunIsHeld(f"Somebody works on the {kind.label} already.")
    return HeldRun(_progress(rows[0]))


def begin(kind: RunKind, *, parameters: Mapping[str, Any], accounts_total: int | None) -> None:
    """Have an open run of this kind, for whoever holds it next; one that is open stays as it is."""
    commit_each([(_OPEN, [kind.value, _json(parameters), accounts_total])])


def latest(kind: RunKind) -> Progress | None:
    """The run of this kind that is open, or the last that was."""
    row = fetch_one(_LATEST, [kind.value])
    return None if row is None else _progress(row)


def latest_finished(*kinds: RunKind) -> Progress | None:
    row = fetch_one(_LATEST_FINISHED, [[kind.value for kind in kinds]])
    return None if row is None else _progress(row)


def is_open(kind: RunKind) -> bool:
    return bool(fetch_all("SELECT 1 FROM cutover_run WHERE kind = %s AND finished_at IS NULL", [kind.value]))


def _progress(row: tuple[Any, ...]) -> Progress:
    return Progress(
        id=row[0],
        kind=RunKind(row[1]),
        parameters=from_jsonb(row[2]),
        cursor=row[3],
        accounts_total=row[4],
        accounts_done=row[5],
        rows_done=row[6],
        counts=from_jsonb(row[7]),
        started_at=row[8],
        changed_at=row[9],
        finished_at=row[10],
        last_error=row[11],
        is_held=row[12],
    )


def _own(row: tuple[Any, ...] | None) -> datetime:
    if row is None:
        raise Overtaken("Another process has gone on with this run.")
    changed_at: datetime = row[0]
    return changed_at


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
