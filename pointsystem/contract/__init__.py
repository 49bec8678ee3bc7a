"""The contract suite: what clients can rely on, as one executable list of cases.

The cases speak HTTP and nothing else, so they run against every implementation of the API: the ledger, the
same API around a legacy, and any live URL (`manage.py contract`). Nothing here imports the product: a suite
that took its words from what it judges would agree with every mistake in it.
"""

from pointsystem.contract.registry import Case, find_cases
from pointsystem.contract.results import Result, Results
from pointsystem.contract.runner import Suite, run_suite

__all__ = ["Case", "Result", "Results", "Suite", "find_cases", "run_suite"]
