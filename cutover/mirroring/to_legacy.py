"""Telling the legacy what the ledger decided."""

from collections.abc import Sequence


def tell(account_numbers: Sequence[str]) -> int:
    """Give the legacy what waits for it on these accounts; messages applied."""
    raise NotImplementedError
