"""Reading the next accounts of the legacy while those before them are written.

The reading is done in a thread of its own, over a connection of its own, and nothing of the ledger is asked
there. So one process keeps both servers busy. What was read early is no worse: `importing.write` brings only
accounts that still stand where they stood before the reading.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from cutover.migrating import importing
from cutover.migrating.importing import Prepared
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.sessions import Session
from legacy_bridge.unhurried import unhurried_session

#: Of the rows that one reading may bring: accounts are chosen so that it is not cut off.
_FULL: Final = 0.8

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some accounts in the legacy's order, and what will have been read of them."""

    numbers: Sequence[str]
    prepared: "Future[Prepared]"


class ReadAhead:
    """Goes through the legacy's accounts, always one page ahead of its caller."""

    def __init__(self, adapter: LegacyAdapter, *, accounts_at_once: int, most_rows: int) -> None:
        self._adapter = adapter
        self._accounts_at_once = accounts_at_once
        self._most_rows = most_rows
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="legacy-reading")
        self._open = ExitStack()
        self._session: Session | None = None
        #: What was read so far, which says how many accounts fit the next page.
        self._accounts = 0
        self._rows = 0

    def pages(self, *, after: str | None) -> Iterator[Page]:
        """All pages behind `after`. The next one is read while the caller works on one."""
        page = self._page(after)
        while page is not None:
            upcoming = self._page(page.numbers[-1])
            yield page
            page = upcoming

    def _page(self, after: str | None) -> Page | None:
        """Find out which accounts come next, once all before them are read, and begin to read them."""
        numbers = self._submit(partial(self._next, after)).result()
        if not numbers:
            return None
        positions, reasons = importing.positions(numbers), importing.reasons()
        return Page(numbers=numbers, prepared=self._submit(partial(self._prepare, positions, reasons)))

    def _next(self, after: str | None, session: Session) -> Sequence[str]:
        limit = self._accounts_at_once
        if self._rows:
            fitting = int(_FULL * self._most_rows * self._accounts / self._rows)
            limit = max(1, min(limit, fitting))
        return self._adapter.account_numbers(session, after=after, limit=limit)

    def _prepare(
        self, positions: Mapping[str, str | None], reasons: Mapping[str, int], session: Session
    ) -> Prepared:
        prepared = importing.prepare(positions, session=session, reasons=reasons, limit=self._most_rows)
        self._accounts += len(positions) - len(prepared.batch.unread)
        self._rows += len(prepared.batch.rows)
        return prepared

    def _submit(self, work: Callable[[Session], _T]) -> "Future[_T]":
        return self._pool.submit(lambda: work(self._own_session()))

    def _own_session(self) -> Session:
        if self._session is None:
            self._session = self._open.enter_context(unhurried_session())
        return self._session

    def close(self) -> None:
        """Wait for what is being read, and close the connection in the thread that opened it."""
        self._pool.submit(self._open.close).result()
        self._pool.shutdown()


@contextmanager
def reading(adapter: LegacyAdapter, *, accounts_at_once: int, most_rows: int) -> Iterator[ReadAhead]:
    ahead = ReadAhead(adapter, accounts_at_once=accounts_at_once, most_rows=most_rows)
    try:
        yield ahead
    finally:
        ahead.close()
