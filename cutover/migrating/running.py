"""A migration or a delta, from where it stands to its end: batch after batch, at a rate, in a window of time.

A migration goes through the legacy's accounts in their order. A delta goes through its rows since the last
migration or delta began, and brings the accounts that they are of; `is_full` compares every account, for lots
change in place too. Both then bring again what was left because a call was under way.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, DataError, IntegrityError, InternalError

from cutover import mismatches
from cutover.migrating import ahead, importing, reading, runs
from cutover.migrating.collecting import few_collections
from cutover.migrating.importing import Imported, Prepared
from cutover.migrating.runs import HeldRun, Progress
from cutover.mirroring import tail
from cutover.models import Difference, FoundBy, RunKind
from ledger import crash_points
from ledger.database import fetch_all, is_lock_timeout, is_retriable
from legacy_bridge import configured, errors
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.sessions import Session
from legacy_bridge.unhurried import unhurried_session

#: Accounts of one batch: its rows are bounded by `reading.ROWS_AT_ONCE`.
ACCOUNTS_AT_ONCE: Final = 500
#: So often accounts that are left are tried again, and so long after each other.
_LAST_ROUNDS: Final = 5
#: One call more than a migration had that reads nothing ahead.
_CALLS_TO_READ_AHEAD: Final = 2
_PAUSE_SECONDS: Final = 0.5
#: So often a batch is begun that another transaction stood in the way of.
_ATTEMPTS: Final = 5
#: Rows that were given an id before and were committed after: so far back a delta looks again.
_LATE: Final = timedelta(seconds=2 * tail.LATE_SECONDS)
_LEFT: Final = """
SELECT account_number FROM cutover_followed_account
WHERE imported_at IS NULL AND account_number > %s ORDER BY account_number LIMIT %s
"""


class NoHistory(Exception):
    """The adapter does not list its accounts and their history: there is nothing to migrate from."""


def run(
    *,
    batch: int = ACCOUNTS_AT_ONCE,
    rate: float | None = None,
    is_delta: bool = False,
    is_full: bool = False,
    seconds: float | None = None,
    actor: str = "",
    on_batch: Callable[[Progress], object] = lambda progress: None,
) -> Progress:
    """Bring what there is to bring, for at most `seconds`, at most `rate` rows a second; how far it is then.

    Goes on where the last one stopped. Raises NoHistory, RunIsHeld, Overtaken, LegacyError, DatabaseError.
    """
    kind = RunKind.DELTA if is_delta else RunKind.MIGRATION
    with unhurried_session() as session:
        adapter = configured.adapter()
        parameters, total = describe(kind, adapter, session, is_full=is_full)
        held = runs.hold(kind, parameters={**parameters, "actor": actor}, accounts_total=total)
        pace = _Pace(rate=rate, seconds=seconds)
        work = _Work(adapter, session, held, batch=batch, pace=pace, tell=lambda: on_batch(_now(kind)))
        try:
            with few_collections():
                is_done = work.through_rows() if work.goes_by_rows else work.through_accounts()
            if is_done and work.what_was_left():
                held.finish()
            else:
                held.let_go()
        except runs.Overtaken:
            raise
        except Exception as error:
            with suppress(Exception):
                held.let_go(error=str(error) or type(error).__name__)
            raise
    return _now(kind)


def describe(
    kind: RunKind, adapter: LegacyAdapter, session: Session, *, is_full: bool
) -> tuple[dict[str, Any], int | None]:
    """What a run that begins now is to do, and of how many accounts. Raises NoHistory."""
    if Feature.HISTORY not in adapter.features:
        raise NoHistory("The adapter of this legacy does not list its history.")
    try:
        adapter.account_numbers(session, after=None, limit=1)
        total = adapter.account_count(session)
    except NotRepresentable as error:
        raise NoHistory(str(error)) from error
    parameters: dict[str, Any] = {"begins_after": _place(adapter, session)}
    if kind is RunKind.MIGRATION:
        return parameters, total
    before = runs.latest_finished(RunKind.MIGRATION, RunKind.DELTA)
    # Before the first migration there is nothing to be different from: all of it is new.
    parameters["is_full"] = is_full or before is None
    parameters["since"] = before.parameters.get("begins_after") if before else None
    return parameters, total if parameters["is_full"] else None


def _place(adapter: LegacyAdapter, session: Session) -> str | None:
    try:
        return adapter.row_before(session, instant=datetime.now(UTC) - _LATE)
    except NotRepresentable:
        return None


def _now(kind: RunKind) -> Progress:
    progress = runs.latest(kind)
    if progress is None:
        raise AssertionError("a run that was begun is not there")
    return progress


class _Pace:
    """How fast, and until when."""

    def __init__(self, *, rate: float | None, seconds: float | None) -> None:
        self._rate = rate
        self._started = time.monotonic()
        self._ends = None if seconds is None else self._started + seconds
        self._rows = 0

    def has_time(self) -> bool:
        return self._ends is None or time.monotonic() < self._ends

    def after(self, rows: int) -> None:
        """Wait until so many rows may have been done."""
        self._rows += rows
        if self._rate:
            due = self._started + self._rows / self._rate
            # Never for so long that the lease would end.
            time.sleep(min(max(0.0, due - time.monotonic()), runs.LEASE_SECONDS / 3))

    def most_rows(self) -> int:
        """So few at once that the rate is one of moments, not of batches."""
        if not self._rate:
            return reading.ROWS_AT_ONCE
        return max(1, min(reading.ROWS_AT_ONCE, int(self._rate)))


class _Work:
    def __init__(
        self,
        adapter: LegacyAdapter,
        session: Session,
        held: HeldRun,
        *,
        batch: int,
        pace: _Pace,
        tell: Callable[[], object],
    ) -> None:
        self.adapter = adapter
        self.session = session
        self.held = held
        self.batch = batch
        self.pace = pace
        self.tell = tell

    @property
    def goes_by_rows(self) -> bool:
        return not self.held.parameters.get("is_full", True)

    def through_accounts(self) -> bool:
        """All accounts behind the cursor; whether the end was reached."""
        if settings.POINTS_LEGACY_MOST_CALLS < _CALLS_TO_READ_AHEAD:
            return self._through_accounts_one_by_one()
        if not self.pace.has_time():
            return False
        most_rows = self.pace.most_rows()
        with ahead.reading(self.adapter, accounts_at_once=self.batch, most_rows=most_rows) as reader:
            for page in reader.pages(after=self.held.cursor):
                self._bring(page.numbers, cursor=page.numbers[-1], prepared=page.prepared)
                if not self.pace.has_time():
                    return False
        return True

    def _through_accounts_one_by_one(self) -> bool:
        while self.pace.has_time():
            numbers = self.adapter.account_numbers(self.session, after=self.held.cursor, limit=self.batch)
            if not numbers:
                return True
            self._bring(numbers, cursor=numbers[-1])
        return False

    def through_rows(self) -> bool:
        """The accounts of all rows that came since; whether the newest row was reached."""
        place = self.held.cursor or self.held.parameters["since"]
        while self.pace.has_time():
            rows = self.adapter.rows_after(self.session, row_id=place, limit=reading.ROWS_AT_ONCE)
            if not rows:
                return True
            place = rows[-1].row_id
            numbers = list(dict.fromkeys(row.account_number for row in rows))
            for first in range(0, len(numbers), self.batch):
                some = numbers[first : first + self.batch]
                is_last = first + self.batch >= len(numbers)
                self._bring(some, cursor=place if is_last else self.held.cursor)
        return False

    def what_was_left(self) -> bool:
        """Accounts that could not be brought when it was their turn; whether there was time for all.

        Those on which something is still open after some rounds stay left: the mirror brings them, or the
        next delta.
        """
        for _ in range(_LAST_ROUNDS):
            if not self.pace.has_time():
                return False
            left = 0
            for numbers in self._left():
                left += len(self._bring(numbers, cursor=self.held.cursor, is_again=True))
            self.held.counts["left"] = left
            if not left:
                break
            time.sleep(_PAUSE_SECONDS)
        return True

    def _left(self) -> Iterator[Sequence[str]]:
        last = ""
        while numbers := [row[0] for row in fetch_all(_LEFT, [last, self.batch])]:
            yield numbers
            last = numbers[-1]

    def _bring(
        self,
        numbers: Sequence[str],
        *,
        cursor: str | None,
        is_again: bool = False,
        prepared: "Future[Prepared] | None" = None,
    ) -> list[str]:
        """Bring accounts, those with many rows part by part; those that were left. `prepared` is what was
        read of them ahead."""
        left: list[str] = []
        waiting = list(numbers)
        while waiting:
            imported = self._bring_each(waiting, prepared)
            prepared = None
            left += imported.left
            waiting = imported.cut
            crash_points.reach("migrate.batch_done")
            if waiting:
                self.tell()
            self.pace.after(imported.rows)
        # Only now: whoever goes on after a kill does the accounts of this batch again, and finds them done.
        done = 0 if is_again else len(numbers)
        self.held.advance(cursor=cursor, accounts=done, rows=0)
        crash_points.reach("migrate.cursor_moved")
        self.tell()
        return left

    def _note(self, imported: Imported) -> None:
        self.held.counts["corrections"] = self.held.counts.get("corrections", 0) + imported.corrections
        self.held.advance(cursor=self.held.cursor, accounts=0, rows=imported.rows)

    def _bring_each(self, numbers: Sequence[str], prepared: "Future[Prepared] | None" = None) -> Imported:
        """`importing.bring`, and when that fails for what one of the accounts has, each by itself."""
        try:
            return self._bring_undisturbed(numbers, prepared)
        except (errors.AnswerInvalid, DataError, IntegrityError, InternalError, ValueError) as error:
            if len(numbers) == 1:
                return self._give_up(numbers[0], error)
        half = len(numbers) // 2
        first = self._bring_each(numbers[:half])
        second = self._bring_each(numbers[half:])
        return Imported(
            rows=first.rows + second.rows,
            accounts=first.accounts + second.accounts,
            corrections=first.corrections + second.corrections,
            cut=first.cut + second.cut,
            left=first.left + second.left,
        )

    def _bring_undisturbed(
        self, numbers: Sequence[str], prepared: "Future[Prepared] | None" = None
    ) -> Imported:
        """Bring accounts in one transaction, anew when another one was in the way."""
        for attempt in count(1):
            with self.held.undone_on_error():
                try:
                    if prepared is not None and attempt == 1:
                        return importing.write(prepared.result(), and_note=self._note)
                    return importing.bring(
                        numbers, session=self.session, limit=self.pace.most_rows(), and_note=self._note
                    )
                except DatabaseError as error:
                    is_disturbed = is_lock_timeout(error) or is_retriable(error)
                    if not is_disturbed or attempt == _ATTEMPTS:
                        raise
                    self.held.undo()
            time.sleep(_PAUSE_SECONDS)
        raise AssertionError("a loop without an end has ended")

    def _give_up(self, number: str, error: Exception) -> Imported:
        """Leave an account of which the legacy says what cannot be; a person looks at it."""
        mismatches.record(
            account_number=number,
            subject="account",
            difference=Difference.REAL,
            found_by=FoundBy.MIGRATION,
            legacy=None,
            ledger=None,
            why=f"It cannot be brought: {error}",
        )
        self.held.counts["given_up"] = self.held.counts.get("given_up", 0) + 1
        return Imported(accounts=1)
