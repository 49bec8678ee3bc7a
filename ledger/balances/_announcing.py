"""What happens between the commit and the answer: the tombstone. What can wait rings a doorbell."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger import crash_points, doorbell
from ledger.balances import _store, metrics
from ledger.balances.guard import refuse_inside_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceChange:
    """An account whose balance a committed transaction changed; `sequence` is its new version."""

    account_id: int
    account_number: str
    sequence: int


def announce(changes: Sequence[BalanceChange]) -> None:
    """Called after the commit, before the answer goes out. Never raises what Redis raised.

    When this returns, nobody reads a balance from Redis that is older than these changes, unless
    Redis did not answer within its timeout; then this process reads from PostgreSQL until they are
    noted. A refresh is asked for in any case, soon and elsewhere. Raises InsideTransaction.
    """
    refuse_inside_transaction("a balance announced")
    crash_points.reach("announce.before_tombstone")
    if _store.note_changes([(change.account_number, change.sequence) for change in changes]):
        metrics.ANNOUNCED.inc(len(changes))
    doorbell.ring_refresh([change.account_id for change in changes])
