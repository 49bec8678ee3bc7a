"""What tests of mirroring do and look at."""

from __future__ import annotations

from typing import Any

from cutover.mirroring import to_legacy
from cutover.models import MirrorMessage, Mismatch
from ledger.database import fetch_all

_DUE = "UPDATE cutover_message SET due_at = clock_timestamp() WHERE account_number = %s AND state = 'waiting'"


def tell(account_number: str) -> int:
    """Tell the legacy what waits on an account, as a worker does that has claimed it."""
    return to_legacy.tell([account_number])


def make_due(account_number: str) -> None:
    """As if the pause, or the lease of whoever took it, were over."""
    fetch_all(_DUE, [account_number])


def states_of(account_number: str) -> list[str]:
    found = MirrorMessage.objects.filter(account_number=account_number).order_by("id")
    return list(found.values_list("state", flat=True))


def message_of(operation_id: Any) -> MirrorMessage:
    return MirrorMessage.objects.get(operation_id=operation_id)


def differences_of(account_number: str) -> list[tuple[str, str, bool]]:
    """Class, subject, and whether somebody resolved it."""
    found = Mismatch.objects.filter(account_number=account_number).order_by("id")
    return [(each.difference, each.subject, each.resolved_at is not None) for each in found]
