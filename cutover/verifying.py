"""Verification: every account on both sides, lot by lot, then every month; differences become mismatches.

An account that differs is looked at again, a few times: under live traffic one side is always a moment
ahead. What is still different then, and has nothing unsettled, is noted by its class; what has is behind.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from cutover import comparing, mismatches, reconciling
from cutover.migrating import runs
from cutover.migrating.running import NoHistory
from cutover.migrating.runs import HeldRun, Progress
from cutover.mismatches import Found
from cutover.models import Difference, FoundBy, RunKind
from ledger import crash_points
from legacy_bridge import configured
from legacy_bridge.adapter import LegacyAdapter
from legacy_bridge.errors import NotRepresentable
from legacy_bridge.sessions import Session
from legacy_bridge.unhurried import unhurried_session

ACCOUNTS_AT_ONCE: Final = 500
_LOOKS: Final = 4
_PAUSE_SECONDS: Final = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a finished verification found."""

    finished_at: datetime
    accounts: int
    is_sample: bool
    #: How many differences of each class it saw.
    differences: dict[Difference, int]
    #: Real differences of accounts and months that are open now.
    real_open: int

    @property
    def is_clean(self) -> bool:
        return not self.real_open


def run(
    *,
    sample: int | None = None,
    batch: int = ACCOUNTS_AT_ONCE,
    on_batch: Callable[[Progress], object] = lambda progress: None,
) -> Result:
    """Verify all accounts, or about `sample` of them, and all months; goes on where the last one stopped.

    Raises NoHistory, RunIsHeld, Overtaken, LegacyError, DatabaseError.
    """
    adapter = configured.adapter()
    with unhurried_session() as session:
        try:
            adapter.account_numbers(session, after=None, limit=1)
            total = adapter.account_count(session)
        except NotRepresentable as error:
            raise NoHistory(str(error)) from error
        held = runs.hold(RunKind.VERIFICATION, parameters={"sample": sample}, accounts_total=total)
        try:
            _through_accounts(adapter, session, held, total=total, batch=batch, on_batch=on_batch)
            if held.parameters.get("sample") is None:
                _through_months(adapter, session, held)
            held.finish()
        except runs.Overtaken:
            raise
        except Exception as error:
            with suppress(Exception):
                held.let_go(error=str(error) or type(error).__name__)
            raise
    result = last_result()
    if result is None:
        raise AssertionError("a verification that has ended is not there")
    return result


def progress() -> Progress | None:
    """The verification that is open, or the last that was."""
    return runs.latest(RunKind.VERIFICATION)


def last_result() -> Result | None:
    """What the last finished verification found."""
    done = runs.latest_finished(RunKind.VERIFICATION)
    if done is None or done.finished_at is None:
        return None
    open_now = mismatches.open_counts()
    return Result(
        finished_at=done.finished_at,
        accounts=int(done.counts.get("compared", 0)),
        is_sample=done.parameters.get("sample") is not None,
        differences={kind: int(done.counts.get(kind.value, 0)) for kind in Difference},
        real_open=sum(
            open_now.get(found_by, {}).get(Difference.REAL, 0)
            for found_by in (FoundBy.VERIFICATION, FoundBy.RECONCILE)
        ),
    )


def _through_accounts(
    adapter: LegacyAdapter,
    session: Session,
    held: HeldRun,
    *,
    total: int | None,
    batch: int,
    on_batch: Callable[[Progress], object],
) -> None:
    share = _share(held.parameters.get("sample"), total)
    while numbers := adapter.account_numbers(session, after=held.cursor, limit=batch):
        chosen = [number for number in numbers if _is_chosen(number, share, salt=held.id)]
        found = compare(adapter, session, chosen) if chosen else []
        gone = mismatches.look(account_numbers=chosen, found=found, found_by=FoundBy.VERIFICATION)
        crash_points.reach("verify.noted")
        _count(held.counts, found, compared=len(chosen), gone=gone)
        held.advance(cursor=numbers[-1], accounts=len(numbers), rows=0)
        if (now := progress()) is not None:
            on_batch(now)


def _count(counts: dict[str, Any], found: Sequence[Found], *, compared: int, gone: int) -> None:
    names = [each.difference.value for each in found]
    for name, number in (("compared", compared), ("gone", gone), *((name, 1) for name in names)):
        counts[name] = int(counts.get(name, 0)) + number


def _share(sample: int | None, total: int | None) -> float:
    return 1.0 if sample is None or not total else min(1.0, sample / total)


def _is_chosen(number: str, share: float, *, salt: int) -> bool:
    """The same choice whenever a verification goes on, another one in the next."""
    if share >= 1:
        return True
    drawn = int.from_bytes(sha256(f"{salt}:{number}".encode()).digest()[:8])
    return drawn / 2**64 < share


def compare(adapter: LegacyAdapter, session: Session, account_numbers: Sequence[str]) -> list[Found]:
    """What differs on these accounts, after another look where something may have been under way.

    Raises LegacyError, DatabaseError.
    """
    found = comparing.differences(adapter, session, account_numbers)
    for _ in range(_LOOKS - 1):
        if not found:
            break
        time.sleep(_PAUSE_SECONDS)
        found = comparing.differences(adapter, session, list(found))
    behind = comparing.unsettled(list(found)) if found else set()
    return [
        _behind(each) if number in behind else each
        for number, of_account in found.items()
        for each in of_account
    ]


def _behind(found: Found) -> Found:
    return Found(
        account_number=found.account_number,
        subject=found.subject,
        difference=Difference.BEHIND,
        legacy=found.legacy,
        ledger=found.ledger,
        why="One side still owes the other something.",
    )


def _through_months(adapter: LegacyAdapter, session: Session, held: HeldRun) -> None:
    found = [each for month in reconciling.all_months(adapter, session) for each in month.unexplained()]
    gone = mismatches.look(account_numbers=[""], found=found, found_by=FoundBy.RECONCILE)
    _count(held.counts, found, compared=0, gone=gone)
    held.advance(cursor=held.cursor, accounts=0, rows=0)
