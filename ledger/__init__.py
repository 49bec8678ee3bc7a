"""An insert-only points ledger: accounts, operations, entries, lots and allocations.

A complete product without `legacy_bridge` and `cutover`, and knows nothing of them.
Writes go through `ledger.operations`, reads through `ledger.queries`.
"""
