"""Recorded differences between both sides: found by many, resolved by a person or by the next look."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from cutover.models import Difference, FoundBy, Mismatch
from ledger.database import commit_each, fetch_all

_LONGEST_SUBJECT: Final = 128
_LONGEST_REASON: Final = 500

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
_RESOLVE: Final = """
UPDATE cutover_mismatch
SET resolved_at = clock_timestamp(), resolved_by = %s, resolution = %s
WHERE id = ANY (%s::bigint[]) AND resolved_at IS NULL
RETURNING id
"""
# Those of these accounts that are not among what was seen now.
_RESOLVE_GONE: Final = """
UPDATE cutover_mismatch AS mismatch
SET resolved_at = clock_timestamp(), resolved_by = %(by)s, resolution = 'It is not there any more.'
WHERE mismatch.found_by = %(found_by)s AND mismatch.resolved_at IS NULL
    AND mismatch.account_number = ANY (%(accounts)s)
    AND NOT EXISTS (
        SELECT FROM unnest(%(seen_accounts)s::text[], %(seen_subjects)s::text[]) AS seen(number, subject)
        WHERE seen.number = mismatch.account_number AND seen.subject = mismatch.subject
    )
RETURNING id
"""
_RESOLVE_ALIKE: Final = """
UPDATE cutover_mismatch
SET resolved_at = clock_timestamp(), resolved_by = %s, resolution = %s
WHERE found_by = %s AND difference = coalesce(%s, difference) AND resolved_at IS NULL
RETURNING id
"""
_OPEN: Final = """
SELECT found_by, difference, count(*) FROM cutover_mismatch WHERE resolved_at IS NULL GROUP BY 1, 2
"""


class NotResolved(Exception):
    """A mismatch is not there, resolved already, or was to be resolved without a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A difference, as it is recorded."""

    account_number: str
    subject: str
    difference: Difference
    legacy: Any
    ledger: Any
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A recorded mismatch."""

    id: int
    account_number: str
    subject: str
    difference: Difference
    found_by: FoundBy
    legacy: Any
    ledger: Any
    why: str
    found_at: datetime
    seen_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    resolution: str


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
            "subject": subject[:_LONGEST_SUBJECT],
            "difference": difference.value,
            "found_by": found_by.value,
            "said": msgspec.json.encode({"legacy": legacy, "ledger": ledger}).decode(),
            "why": why[:2000],
        },
    )


def look(*, account_numbers: Collection[str], found: Sequence[Found], found_by: FoundBy) -> int:
    """Note what a look at these accounts found, and resolve what it did not find any more; how many those
    were. An account number of "" is that of what is of no account."""
    for each in found:
        record(
            account_number=each.account_number,
            subject=each.subject,
            difference=each.difference,
            found_by=found_by,
            legacy=each.legacy,
            ledger=each.ledger,
            why=each.why,
        )
    gone = fetch_all(
        _RESOLVE_GONE,
        {
            "by": found_by.value,
            "found_by": found_by.value,
            "accounts": list(account_numbers),
            "seen_accounts": [each.account_number for each in found],
            "seen_subjects": [each.subject[:_LONGEST_SUBJECT] for each in found],
        },
    )
    return len(gone)


def listed(
    *,
    account_number: str | None = None,
    difference: Difference | None = None,
    found_by: FoundBy | None = None,
    with_resolved: bool = False,
    after: int = 0,
    limit: int = 100,
) -> list[Listed]:
    """Mismatches, the oldest first, at most `limit` behind `after`."""
    chosen = Mismatch.objects.filter(id__gt=after)
    if account_number is not None:
        chosen = chosen.filter(account_number=account_number)
    if difference is not None:
        chosen = chosen.filter(difference=difference)
    if found_by is not None:
        chosen = chosen.filter(found_by=found_by)
    if not with_resolved:
        chosen = chosen.filter(resolved_at__isnull=True)
    return [
        Listed(
            id=row.id,
            account_number=row.account_number,
            subject=row.subject,
            difference=Difference(row.difference),
            found_by=FoundBy(row.found_by),
            legacy=row.said.get("legacy"),
            ledger=row.said.get("ledger"),
            why=row.why,
            found_at=row.found_at,
            seen_at=row.seen_at,
            resolved_at=row.resolved_at,
            resolved_by=row.resolved_by,
            resolution=row.resolution,
        )
        for row in chosen.order_by("id")[:limit]
    ]


def resolve(*, ids: Sequence[int], actor: str, reason: str) -> int:
    """Say that these differences are dealt with, and how; how many were. All of them or none.

    What is still different is found again by the next look. Raises NotResolved.
    """
    _check_reason(reason)
    wanted = sorted(set(ids))
    open_ids = set(
        Mismatch.objects.filter(id__in=wanted, resolved_at__isnull=True).values_list("id", flat=True)
    )
    missing = [number for number in wanted if number not in open_ids]
    if missing:
        raise NotResolved(f"Not there, or resolved already: {', '.join(map(str, missing))}.")
    (rows,) = commit_each([(_RESOLVE, [actor[:150], reason.strip(), wanted])])
    return len(rows)


def resolve_alike(*, found_by: FoundBy, difference: Difference | None, actor: str, reason: str) -> int:
    """Say the same of all open ones that were found by one look, or of those of a class; how many were.

    Raises NotResolved.
    """
    _check_reason(reason)
    kind = None if difference is None else difference.value
    parameters = [actor[:150], reason.strip(), found_by.value, kind]
    (rows,) = commit_each([(_RESOLVE_ALIKE, parameters)])
    return len(rows)


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise NotResolved("A mismatch is resolved with a reason.")
    if len(reason) > _LONGEST_REASON:
        raise NotResolved(f"The reason is longer than {_LONGEST_REASON} characters.")


def open_counts() -> dict[FoundBy, dict[Difference, int]]:
    """How many are open, by who found them and by class."""
    counts: dict[FoundBy, dict[Difference, int]] = {}
    for found_by, difference, number in fetch_all(_OPEN):
        counts.setdefault(FoundBy(found_by), {})[Difference(difference)] = number
    return counts
