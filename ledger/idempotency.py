"""The fingerprint of a command: what makes the same key with another body a mistake.

Taken over the validated values and not over the bytes, so that key order, white space and the
spelling of a time zone do not matter (docs/adr/0005-idempotency.md).
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from ledger.commands import UNSET, Cancel, Command
from ledger.models import OperationKind

#: Raised when the meaning of the canonical form changes; old fingerprints then stay valid.
VERSION = 1

_NOT_IN_THE_BODY = ("client_id", "idempotency_key", "operation_id", "actor", "any_client")


def fingerprint(command: Command) -> bytes:
    """SHA-256 over the kind and the canonical values of `command`."""
    values: dict[str, Any] = {"version": VERSION, "command": type(command).__name__}
    for name in command.__dataclass_fields__:
        value = getattr(command, name)
        if name in _NOT_IN_THE_BODY or value is UNSET:
            continue
        if isinstance(value, datetime):
            value = value.timestamp()
        values[name] = value
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).digest()


def lock_number(*, client_id: int, idempotency_key: str) -> int:
    """The advisory lock that stands for a key while it is being run: a signed 64-bit number."""
    digest = hashlib.blake2b(f"{client_id}:{idempotency_key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def kind_of(command: Command) -> str:
    """The kind of operation that `command` asks for; for a cancel, until its target is known, a guess."""
    if isinstance(command, Cancel):
        return OperationKind.SPEND_CANCEL
    return type(command).__name__.lower()
