"""What the caller may choose."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    tell: Callable[[str], None]
    #: Of each counted run.
    seconds: float = 8.0
    rounds: int = 3
    #: Allocations of the big ledger of P6 and P16.
    ledger_allocations: int = 1_000_000
    requests_for_memory: int = 100_000
    #: Accounts of the legacy of P12, with about ten rows each.
    migrated_accounts: int = 20_000
    pgledger_sql: list[Path] = field(default_factory=list)
