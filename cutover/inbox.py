"""The inbox while the legacy decides: what was accepted is given to it, in order per account.

An item is deleted when its operation has ended, whoever ended it. No lock is held over the call: that an
account has at most one open intent keeps two drainers apart.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError

from cutover import intents, wrapped
from ledger.database import fetch_all
from ledger.errors import (
    AccountBusy,
    DatabaseUnavailable,
    IdempotencyKeyReused,
    OperationInProgress,
    OutcomeUnknown,
    PrimaryUnavailable,
    Refusal,
)
from ledger.operations import stored_command

log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 200
_FAILURES_OF_ONE_CAUSE: Final = 3
_WAITING_ACCOUNTS: Final = """
SELECT account_number FROM ledger_inbox GROUP BY account_number ORDER BY min(id) LIMIT %s
"""
_NEXT: Final = """
SELECT inbox.id, inbox.command, inbox.accepted_at, operation.state
FROM ledger_inbox AS inbox JOIN ledger_operation AS operation ON operation.id = inbox.operation_id
WHERE inbox.account_number = %s
ORDER BY inbox.id
LIMIT 1
"""
_DELETE: Final = "DELETE FROM ledger_inbox WHERE id = %s"
_NOTE_FAILURE: Final = "UPDATE ledger_inbox SET attempts = attempts + 1, last_error = %s WHERE id = %s"
#: What a later attempt may change: the item waits.
_LATER: Final = (AccountBusy, OperationInProgress, OutcomeUnknown, PrimaryUnavailable, DatabaseUnavailable)


def waiting_accounts(*, limit: int) -> list[str]:
    """The accounts that have waited longest."""
    return [row[0] for row in fetch_all(_WAITING_ACCOUNTS, [limit])]


def drain(*, account_numbers: Sequence[str]) -> int:
    """Do what waits on these accounts; how many items were done.

    One account that cannot be drained stops no other, but several in a row mean that the legacy is away.
    """
    done = failures = 0
    for account_number in account_numbers:
        if failures >= _FAILURES_OF_ONE_CAUSE:
            break
        try:
            done += drain_account(account_number)
            failures = 0
        except (PrimaryUnavailable, OutcomeUnknown):
            failures += 1
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            # Whatever it is, it is of this account alone.
            log.exception("inbox_not_drained", account_number=account_number)
    return done


def drain_before(account_number: str) -> bool:
    """Do what waits on an account, up to a bound; whether nothing is left."""
    with suppress(PrimaryUnavailable, OutcomeUnknown):
        drain_account(account_number)
    return not fetch_all(_NEXT, [account_number])


def drain_account(account_number: str) -> int:
    """Do what waits on one account, in order, until something cannot be done now; how many were done.
    Raises PrimaryUnavailable and OutcomeUnknown when the legacy did not answer."""
    done = 0
    while done < _MOST_AT_ONCE:
        rows = fetch_all(_NEXT, [account_number])
        if not rows:
            break
        item_id, command, accepted_at, state = rows[0]
        if state == "accepted" and not _do(item_id, command, accepted_at):
            break
        if state in ("pending", "in_doubt"):
            break
        fetch_all(_DELETE, [item_id])
        done += 1
    return done


def _do(item_id: int, stored: Any, accepted_at: Any) -> bool:
    """Whether the item has an outcome now. A refusal is one: the 202 is out. Raises PrimaryUnavailable and
    OutcomeUnknown; the item waits then."""
    command = stored_command(stored)
    try:
        wrapped.execute(command, accepted_at=accepted_at)
    except _LATER as refusal:
        _note(item_id, refusal)
        if isinstance(refusal, PrimaryUnavailable | OutcomeUnknown):
            raise
        return False
    except IdempotencyKeyReused:
        raise
    except Refusal as refusal:
        if refusal.operation_id is None:
            try:
                intents.end_accepted(operation_id=command.operation_id, refusal=refusal.to_json())
            except intents.TakenOver:
                # Whoever has it takes it out of the inbox too.
                return False
    except (wrapped.LegacyDoesNotDecide, wrapped.Later):
        # The sweeper comes by again.
        return False
    return True


def _note(item_id: int, refusal: Refusal) -> None:
    try:
        fetch_all(_NOTE_FAILURE, [f"{refusal.code}: {refusal}"[:2000], item_id])
    except DatabaseError:
        log.warning("inbox_item_not_noted", item=item_id)
