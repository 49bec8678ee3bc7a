"""Shadow compare: a sample of the balances that clients read, looked up on both sides, off the request's
path.

A worker compares, with the account number alone; nobody waits for it, and what it cannot read now is not
compared. Counted by day and by what came of it; differences become mismatches.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from cutover import comparing, mismatches, verifying
from cutover.models import Difference, FoundBy, ShadowCount, Stage
from cutover.routes import CurrentRoute
from ledger import clock, doorbell
from ledger.database import commit_each
from legacy_bridge import configured, sessions

log = structlog.get_logger(__name__)

EQUAL: Final = "equal"
_TASK: Final = "cutover.tasks.compare_shadows"
_SAMPLED_IN: Final = (Stage.LEGACY_FIRST, Stage.NEW_FIRST)
#: Accounts that are compared with one snapshot.
_ACCOUNTS_AT_ONCE: Final = 50
_PAUSE_SECONDS: Final = 0.5
_AT_LEAST_EACH_SECONDS: Final = 1.0
_COUNT: Final = """
INSERT INTO cutover_shadow_count (day, outcome, accounts) VALUES (%s, %s, %s)
ON CONFLICT (day, outcome) DO UPDATE SET accounts = cutover_shadow_count.accounts + EXCLUDED.accounts
"""


#: When this process last took one, by the monotonic clock.
_taken_at = -_AT_LEAST_EACH_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Accounts that were compared since a day, and what came of them."""

    since: date
    compared: int
    equal: int
    differences: dict[Difference, int]


def sample(account_number: str, route: CurrentRoute) -> None:
    """After a balance was read: have a share of them (POINTS_SHADOW_SAMPLE) compared soon. Never blocks.

    Where little is read one is taken each second: a share of it would tell nothing for days.
    """
    global _taken_at
    share = settings.POINTS_SHADOW_SAMPLE
    if not share or route.stage not in _SAMPLED_IN or route.is_finished:
        return
    now = time.monotonic()
    is_due = now - _taken_at >= _AT_LEAST_EACH_SECONDS
    if (not is_due and random.random() >= share) or connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return
    _taken_at = now
    doorbell.ring(task=_TASK, queue="migrate", argument="account_numbers", ids=[account_number])


def compare(account_numbers: Sequence[str]) -> int:
    """Compare these accounts now, once more where they differ, and count; how many were compared.

    Raises LegacyError, DatabaseError.
    """
    adapter = configured.adapter()
    for first in range(0, len(account_numbers), _ACCOUNTS_AT_ONCE):
        some = account_numbers[first : first + _ACCOUNTS_AT_ONCE]
        with sessions.session() as session:
            differ = list(comparing.differences(adapter, session, some))
        found: list[mismatches.Found] = []
        if differ:
            time.sleep(_PAUSE_SECONDS)
            with sessions.session() as session:
                found = verifying.compare(adapter, session, differ)
        mismatches.look(account_numbers=some, found=found, found_by=FoundBy.SHADOW)
        _count(some, found)
    return len(account_numbers)


def _count(account_numbers: Sequence[str], found: Sequence[mismatches.Found]) -> None:
    classes: dict[str, str] = {}
    for each in found:
        # An account counts once, for the worst of its differences.
        if classes.get(each.account_number) != Difference.REAL:
            classes[each.account_number] = each.difference.value
    outcomes: dict[str, int] = {EQUAL: len(set(account_numbers)) - len(classes)}
    for outcome in classes.values():
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    today = clock.now().astimezone(clock.programme_zone()).date()
    statements: list[tuple[str, Any]] = [
        (_COUNT, [today, outcome, accounts]) for outcome, accounts in sorted(outcomes.items()) if accounts
    ]
    if statements:
        commit_each(statements)


def counted(*, since: date) -> Counted:
    """What was compared on that day and after."""
    sums: dict[str, int] = {}
    for outcome, accounts in ShadowCount.objects.filter(day__gte=since).values_list("outcome", "accounts"):
        sums[outcome] = sums.get(outcome, 0) + accounts
    return Counted(
        since=since,
        compared=sum(sums.values()),
        equal=sums.get(EQUAL, 0),
        differences={kind: sums.get(kind.value, 0) for kind in Difference},
    )
