"""Ids of what the API did not make: derived from the legacy's own row ids, and always the same."""

from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:pointsystem:legacy").bytes
#: The digit that carries the variant, by the one that the hash has there.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _derived(name: str) -> UUID:
    """`uuid5` in half its time: a migration derives three for each row."""
    digest = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)


def _text(name: str) -> str:
    """The same as text, for whoever makes no more of it: in half the time again."""
    digest = sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANT[digest[16]]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def operation_text(row_id: str) -> str:
    return _text(f"operation:{row_id}")


def entry_text(row_id: str) -> str:
    return _text(f"entry:{row_id}")


def lot_text(legacy_lot_id: str) -> str:
    return _text(f"lot:{legacy_lot_id}")


def operation_id(row_id: str) -> UUID:
    """Of the operation that a row of the legacy's history stands for, when no call of the API made it."""
    return _derived(f"operation:{row_id}")


def entry_id(row_id: str) -> UUID:
    """Of the line of history."""
    return _derived(f"entry:{row_id}")


def lot_id(legacy_lot_id: str) -> UUID:
    return _derived(f"lot:{legacy_lot_id}")
