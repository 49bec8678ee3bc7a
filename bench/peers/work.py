"""What both web peers do of a request, beside talking to the database: the same values as the product's
statement wants, the fingerprint of the body, and the answer."""

import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from bench.peers.settings_of_peer import PeerSettings

KNOWN_KEY = (
    "SELECT id, fingerprint, balance_after FROM ledger_operation"
    " WHERE client_id = %(client_id)s AND idempotency_key = %(idempotency_key)s"
)


def uuid7() -> UUID:
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    low = random & 0x3FFFFFFFFFFFFFFF
    return UUID(int=milliseconds << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64 | 0b10 << 62 | low)


def parameters(
    settings: PeerSettings, *, kind: str, account_number: str, key: str, body: bytes, points: int
) -> dict[str, Any]:
    """Raises ValueError for points that are none."""
    if not 1 <= points <= 1_000_000_000:
        raise ValueError("points")
    now = datetime.now(UTC)
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    values = {
        "lock_number": int.from_bytes(digest, "big", signed=True),
        "operation_id": uuid7(),
        "entry_id": uuid7(),
        "client_id": settings.client_id,
        "idempotency_key": key,
        "fingerprint": hashlib.sha256(kind.encode() + account_number.encode() + body).digest(),
        "account_number": account_number,
        "points": points,
        "reference": None,
        "occurred_at": None,
        "metadata": None,
        "actor": None,
        "now": now,
    }
    if kind == "earn":
        day = now.replace(hour=15, minute=0, second=0, microsecond=0)
        values |= {
            "lot_id": uuid7(),
            "expires_at": day + timedelta(days=366),
            "reason_id": settings.earn_reason_id,
            "policy_id": settings.earn_policy_id,
        }
    else:
        values["reason_id"] = settings.spend_reason_id
    return values


def answer(values: dict[str, Any], row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "id": str(values["operation_id"]),
        "state": "completed",
        "account_number": values["account_number"],
        "points": values["points"],
        "recorded_at": row[3].isoformat(),
        "balance_after": row[2],
    }


def answer_without_effect(
    values: dict[str, Any], known: tuple[Any, ...] | None
) -> tuple[int, dict[str, Any]]:
    """The statement wrote nothing: its key is known, or it must not be done."""
    if known is None:
        return 422, {"code": "refused"}
    if bytes(known[1]) != values["fingerprint"]:
        return 422, {"code": "idempotency_key_reused"}
    return 201, {"id": str(known[0]), "balance_after": known[2]}
