"""Nothing may hear of a change before it is committed: the bug that made balances lose points.

A worker that is told inside the transaction reads before the commit, and caches the old balance for
good. So whoever tells, and whoever would cache, comes past here.
"""

from django.db import connection


class InsideTransaction(RuntimeError):
    """A balance was announced, refreshed or asked for a refresh before its transaction committed."""


def is_inside_transaction() -> bool:
    return bool(connection.in_atomic_block)


def refuse_inside_transaction(what: str) -> None:
    """Raises InsideTransaction; `transaction.on_commit(..., robust=True)` is the way."""
    if connection.in_atomic_block:
        raise InsideTransaction(f"{what} inside an open transaction, before its commit")
