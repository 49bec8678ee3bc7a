"""Ids of what the API did not make: derived from the legacy's own row ids, and always the same."""

from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:pointsystem:legacy")


def operation_id(row_id: str) -> UUID:
    """Of the operation that a row of the legacy's history stands for, when no call of the API made it."""
    return uuid5(_NAMESPACE, f"operation:{row_id}")


def entry_id(row_id: str) -> UUID:
    """Of the line of history."""
    return uuid5(_NAMESPACE, f"entry:{row_id}")


def lot_id(legacy_lot_id: str) -> UUID:
    return uuid5(_NAMESPACE, f"lot:{legacy_lot_id}")
