"""The ledger's own answers to everything that is asked of points (`ledger.door` says by whom)."""

from collections.abc import Callable
from datetime import datetime

from ledger import expiry
from ledger.balances import read as balance
from ledger.balances import read_json as balance_json
from ledger.operations import accept, change_account_status, drain_inbox, execute, execute_all
from ledger.queries import (
    balance_as_of,
    find_operation,
    history_page,
    lots_page,
    operations_by_reference,
    spend_preview,
)

__all__ = [
    "accept",
    "balance",
    "balance_as_of",
    "balance_json",
    "change_account_status",
    "drain_inbox",
    "execute",
    "execute_all",
    "expire_points",
    "find_operation",
    "history_page",
    "lots_page",
    "operations_by_reference",
    "spend_preview",
]


def expire_points(
    *,
    as_of: datetime | None = None,
    batch_lots: int = 5000,
    on_batch: Callable[[expiry.ExpiryRun], None] | None = None,
) -> expiry.ExpiryRun:
    """Post what has lapsed, on all accounts. Raises ValidationRefused for an `as_of` later than now."""
    return expiry.expire_points(as_of=as_of, batch_lots=batch_lots, on_batch=on_batch)
