"""Recorded differences between both sides: found by many, resolved by a person or by the next look."""

from typing import Any, Final

import msgspec

from cutover.models import Difference, FoundBy
from ledger.database import fetch_all

_RECORD: Final = """
INSERT INTO cutover_mismatch (
    account_number, subject, difference, found_by, said, why, found_at, seen_at, resolved_by, resolution
) VALUES (
    %(account_number)s, %(subject)s, %(difference)s, %(found_by)s, %(said)s::jsonb, %(why)s,
    clock_timestamp(), clock_timestamp(), '', ''
)
ON CONFLICT (account_number, subject, found_by) WHERE resolved_at IS NULL
DO UPDATE SET seen_at = EXCLUDED.seen_at, said = EXCLUDED.said, difference = EXCLUDED.difference,
    why = EXCLUDED.why
"""


def record(
    *,
    account_number: str,
    subject: str,
    difference: Difference,
    found_by: FoundBy,
    legacy: Any,
    ledger: Any,
    why: str,
) -> None:
    """Note a difference; the same one that is open already is only seen again."""
    fetch_all(
        _RECORD,
        {
            "account_number": account_number,
            "subject": subject[:128],
            "difference": difference.value,
            "found_by": found_by.value,
            "said": msgspec.json.encode({"legacy": legacy, "ledger": ledger}).decode(),
            "why": why[:2000],
        },
    )
