"""Who is to be asked, and the ledger asked as the one who decides while a legacy still follows.

While a legacy follows, or may yet decide again, the ledger takes the lots that the legacy will take, and does
nothing that the legacy has no form for (docs/adr/0024-the-ledger-within-bounds.md). Whether it may decide at
all the database says, in the transaction that decides.
"""

import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn, cast

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, IntegrityError, connections

from cutover import resolving, routes, wrapped
from cutover.routes import CurrentRoute
from cutover.wrapped import Later
from ledger import bounds
from ledger import face as ledger
from ledger.bounds import Bounds, SpendingOrder
from ledger.commands import Adjust, Cancel, Command, Earn, Spend, Transfer
from ledger.database import fetch_all, fetch_one, violated_constraint
from ledger.errors import (
    AccountBusy,
    AccountHeld,
    EarnAlreadySpent,
    NotAvailableInStage,
    OperationInProgress,
    Refusal,
)
from ledger.models import Clawback, Restore
from ledger.records import Outcome
from legacy_bridge import configured

_ACCOUNT_OF: Final = "SELECT account_number FROM ledger_operation WHERE id = %s"
_MAY_DECIDE: Final = """
SELECT number, route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST')
FROM unnest(%s::text[]) AS number
LEFT JOIN cutover_member AS member ON member.account_number = number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE coalesce(route.freeze_until <= clock_timestamp(), true)
    AND (
        route.finished_at IS NOT NULL
        OR NOT cutover_is_held(
            number,
            CASE WHEN route.stage IN ('LEGACY_ONLY', 'LEGACY_FIRST') THEN 'to_legacy' ELSE 'to_ledger' END
        )
    )
"""
_OF_LEDGER: Final = """
SELECT account.id
FROM ledger_account AS account
LEFT JOIN cutover_member AS member ON member.account_number = account.account_number
JOIN cutover_route AS route ON route.cohort = coalesce(member.cohort, 'default')
WHERE account.id = ANY (%s::bigint[]) AND route.stage IN ('NEW_FIRST', 'NEW_ONLY')
    AND (
        route.finished_at IS NOT NULL
        OR coalesce(route.freeze_until <= clock_timestamp(), true)
            AND NOT cutover_is_held(account.account_number, 'to_ledger')
    )
"""
#: What a transaction of the ledger is refused by when it may not decide.
_FENCE: Final = frozenset(
    {"route_lets_ledger_decide", "route_is_not_frozen", "account_is_not_held", "legacy_can_represent"}
)


class LedgerDoesNotDecide(Exception):
    """The route changed since it was read: whoever decides now must be asked."""


def route_of(command: Command) -> CurrentRoute:
    """The route by which `command` goes, as of a moment ago."""
    return routes.hint(None if routes.is_uniform() else _account_of(command))


def _account_of(command: Command) -> str | None:
    match command:
        case Cancel():
            row = fetch_one(_ACCOUNT_OF, [command.cancelled_operation_id])
            return row[0] if row else None
        case Transfer():
            return command.from_account_number
        case _:
            return command.account_number


def legacy_answers(account_number: str) -> bool:
    """Whether the legacy is asked about an account: it decides, or it did and the account is still held."""
    route = routes.hint(account_number)
    return route.legacy_decides != routes.is_held(account_number, route)


def split(account_numbers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of these accounts of which the legacy decides, and the ledger; none that is frozen or held."""
    found = dict(fetch_all(_MAY_DECIDE, [list(account_numbers)]))
    in_order = [number for number in account_numbers if number in found]
    return [number for number in in_order if found[number]], [
        number for number in in_order if not found[number]
    ]


def accounts_of_ledger(account_ids: Collection[int]) -> set[int]:
    """Those of these accounts on which the ledger may post an expiry now."""
    return {row[0] for row in fetch_all(_OF_LEDGER, [list(account_ids)])}


@contextmanager
def within_bounds(route: CurrentRoute) -> Iterator[None]:
    """Have the ledger decide as the legacy can follow, until the cutover is finished."""
    if route.is_finished:
        yield
        return
    oldest_first = configured.adapter().takes_oldest_first
    order = SpendingOrder.OLDEST if oldest_first else SpendingOrder.SOONEST_EXPIRY
    with bounds.within(Bounds(spending_order=order, restore=Restore.ORIGINAL, clawback=Clawback.REJECT)):
        yield


def by_ledger(command: Command) -> Outcome:
    """Have the ledger decide `command`. Raises what the ledger's `execute` raises, NotAvailableInStage,
    LedgerDoesNotDecide and Later."""
    route = route_of(command)
    if isinstance(command, Transfer | Adjust) and not route.is_finished:
        what = "gifts" if isinstance(command, Transfer) else "adjustments"
        raise NotAvailableInStage(f"There are no {what} before the cutover is finished.")
    if not route.is_finished and not resolving.has_form(command):
        resolving.check_representable(cast("Earn | Spend | Cancel", command))
    give_up_at = time.monotonic() + settings.POINTS_LOCK_TIMEOUT_SECONDS
    while True:
        try:
            with within_bounds(route):
                outcome = ledger.execute(command)
        except IntegrityError as error:
            _sent_back(error, command)
        except AccountBusy as busy:
            _say_why(busy, command)
        except AccountHeld as held:
            raise Later(held) from held
        if not outcome.is_replayed or outcome.operation.state not in ("pending", "in_doubt"):
            return outcome
        # It was given to the legacy before, and what became of it is being found out.
        if time.monotonic() > give_up_at:
            raise OperationInProgress("An operation with this key is still being run.")
        time.sleep(random.uniform(0.02, 0.06))


def all_by_ledger(commands: Sequence[Command], *, deadline_seconds: float) -> list[Outcome | Refusal]:
    """Have the ledger decide a batch. Raises LedgerDoesNotDecide and Later when one of it must not be
    decided now; what was committed before then stays."""
    route = routes.hint()
    if not route.is_finished and not all(resolving.has_form(command) for command in commands):
        raise LedgerDoesNotDecide
    try:
        with within_bounds(route):
            results = ledger.execute_all(commands, deadline_seconds=deadline_seconds)
    except IntegrityError as error:
        if violated_constraint(error) in _FENCE:
            raise LedgerDoesNotDecide from error
        raise
    if any(isinstance(result, AccountHeld) for result in results):
        raise LedgerDoesNotDecide
    return [_unless_unsettled(result) for result in results]


def _unless_unsettled(result: Outcome | Refusal) -> Outcome | Refusal:
    if isinstance(result, Outcome) and result.operation.state in ("pending", "in_doubt"):
        return OperationInProgress("An operation with this key is still being run.")
    return result


def drain_by_ledger(account_numbers: Sequence[str]) -> int:
    """Have the ledger do what was accepted on these accounts; how many items were done."""
    done = 0
    for number in account_numbers:
        with within_bounds(routes.hint(number)):
            done += ledger.drain_inbox(account_numbers=[number])
    return done


def _say_why(busy: AccountBusy, command: Command) -> NoReturn:
    """What was accepted before cannot be done, perhaps because nothing can be decided at all. Raises Later,
    LedgerDoesNotDecide, or AccountBusy."""
    number = _account_of(command)
    route = routes.of_account(number) if number is not None else routes.current()
    if route.legacy_decides:
        raise LedgerDoesNotDecide from busy
    if route.is_frozen:
        raise Later(wrapped.frozen()) from busy
    if number is not None and number not in split([number])[1]:
        raise Later(wrapped.held()) from busy
    raise busy


def _sent_back(error: IntegrityError, command: Command) -> NoReturn:
    """Say what the fence refused. Raises LedgerDoesNotDecide, Later, or a refusal; else the error."""
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        raise error
    match violated_constraint(error):
        case "route_lets_ledger_decide":
            raise LedgerDoesNotDecide from error
        case "route_is_not_frozen":
            raise Later(wrapped.frozen()) from error
        case "account_is_not_held":
            raise Later(wrapped.held()) from error
        case "legacy_can_represent":
            if isinstance(command, Cancel):
                raise EarnAlreadySpent("Points of this earn were spent already.") from error
            raise NotAvailableInStage("This cannot be done before the cutover is finished.") from error
    raise error
