"""Proves every invariant of the ledger again, from its rows alone (docs/concepts/invariants.md).

Read-only, on one snapshot, in constant memory: tables are compared by statements that return only
what is wrong, and the history is replayed as a stream. Safe beside live traffic.
"""

from ledger.verification._verify import CHECKS, verify
from ledger.verification.report import Breach, Report, Skipped

__all__ = ["CHECKS", "Breach", "Report", "Skipped", "verify"]
