"""The ledger's own answers to everything that is asked of points (`ledger.door` says by whom)."""

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
    "find_operation",
    "history_page",
    "lots_page",
    "operations_by_reference",
    "spend_preview",
]
