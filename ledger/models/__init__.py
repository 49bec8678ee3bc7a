"""The tables of the ledger.

Entries, lots and allocations are the truth and are never changed. `OpenLot`, the counters on
`Account` and the balances in Redis are projections: derived, checked by `verify_ledger` and
rebuilt by `rebuild_projections`.
"""

from ledger.models.accounts import Account, AccountStatus, AccountStatusChange
from ledger.models.clients import (
    BACK_OFFICE_CLIENT,
    LEGACY_CLIENT,
    SYSTEM_CLIENT,
    ApiKey,
    Client,
    ClientActivity,
    ClientActivityDay,
    Scope,
)
from ledger.models.operations import InboxItem, Operation, OperationKind, OperationState
from ledger.models.postings import Allocation, Debt, Entry, EntryKind, Lot, OpenLot, StaleBalance
from ledger.models.reasons import Clawback, ExpiryRounding, Reason, ReasonPolicy, Restore
from ledger.models.simulated_clock import SimulatedClock

#: Tables on which the database itself refuses UPDATE, DELETE and TRUNCATE, by trigger and by
#: privilege (docs/adr/0003-insert-only-by-the-database.md).
INSERT_ONLY_TABLES = (
    "ledger_entry",
    "ledger_lot",
    "ledger_allocation",
    "ledger_debt",
    "ledger_account_status",
    "ledger_reason_policy",
)

__all__ = [
    "BACK_OFFICE_CLIENT",
    "INSERT_ONLY_TABLES",
    "LEGACY_CLIENT",
    "SYSTEM_CLIENT",
    "Account",
    "AccountStatus",
    "AccountStatusChange",
    "Allocation",
    "ApiKey",
    "Clawback",
    "Client",
    "ClientActivity",
    "ClientActivityDay",
    "Debt",
    "Entry",
    "EntryKind",
    "ExpiryRounding",
    "InboxItem",
    "Lot",
    "OpenLot",
    "Operation",
    "OperationKind",
    "OperationState",
    "Reason",
    "ReasonPolicy",
    "Restore",
    "Scope",
    "SimulatedClock",
    "StaleBalance",
]
