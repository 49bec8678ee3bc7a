"""Some threads that work side by side, each with a connection of its own to the legacy, which it keeps.

A call of a procedure is mostly waited for: for the legacy's disk, and for the way there.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import connections

from legacy_bridge import sessions

_MOST: Final = 3
T = TypeVar("T")

#: One thread each, so that the work of a lane always finds the same connection.
_others: list[ThreadPoolExecutor] = []
_legacy: Any = None


def count() -> int:
    """How many lanes there are; as many calls of the legacy may be under way in this process."""
    return max(1, min(_MOST, settings.POINTS_LEGACY_MOST_CALLS))


def run(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do these side by side, the first in the caller's own thread, and return when all have ended. Raises
    what the first of them raised that failed."""
    begun: list[Future[T]] = [lane.submit(work) for lane, work in zip(_lanes(), works[1:], strict=False)]
    try:
        results = [works[0]()]
    finally:
        # Nobody may go on while another is still at work with what both share.
        wait(begun)
    return [*results, *(each.result() for each in begun)]


def _lanes() -> list[ThreadPoolExecutor]:
    global _others, _legacy
    configuration = connections.databases[sessions.ALIAS]
    if _legacy is not configuration:
        # The process was pointed at another legacy: the connections of these threads are to the old one.
        for lane in _others:
            lane.shutdown(wait=False)
        _others, _legacy = [], configuration
    while len(_others) < count() - 1:
        _others.append(ThreadPoolExecutor(max_workers=1, thread_name_prefix="points-mirror"))
    return _others


def _forget() -> None:
    global _others, _legacy
    _others, _legacy = [], None


os.register_at_fork(after_in_child=_forget)
