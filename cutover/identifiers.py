"""Ids of what the API did not make: derived from the legacy's own row ids, and always the same."""

from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:pointsystem:legacy").bytes


def _derived(name: str) -> UUID:
    """`uuid5` in half its time: a migration derives three for each row."""
    digest = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


def operation_id(row_id: str) -> UUID:
    """Of the operation that a row of the legacy's history stands for, when no call of the API made it."""
    return _derived(f"operation:{row_id}")


def entry_id(row_id: str) -> UUID:
    """Of the line of history."""
    return _derived(f"entry:{row_id}")


def lot_id(legacy_lot_id: str) -> UUID:
    return _derived(f"lot:{legacy_lot_id}")
