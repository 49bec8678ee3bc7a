"""What can only be judged against the clock and the list of reasons, after the key was looked up."""

from datetime import datetime, timedelta

from ledger.commands import Adjust, Earn, Unset
from ledger.errors import ValidationRefused
from ledger.policies import Policy

_TEN_YEARS = timedelta(days=3653)
_OCCURRED_AHEAD = timedelta(minutes=5)


def check_occurred_at(occurred_at: datetime | None, *, now: datetime) -> None:
    """At most 5 minutes ahead and 10 years back. Raises ValidationRefused."""
    if occurred_at is None:
        return
    if occurred_at > now + _OCCURRED_AHEAD:
        raise ValidationRefused(
            field="occurred_at",
            field_code="too_far_ahead",
            detail="occurred_at is more than 5 minutes ahead.",
        )
    if occurred_at < now - _TEN_YEARS:
        raise ValidationRefused(
            field="occurred_at", field_code="too_far_back", detail="occurred_at is more than 10 years back."
        )


def expiry_of(command: Earn | Adjust, *, policy: Policy, now: datetime) -> datetime | None:
    """When the lot of `command` lapses: as asked, or by the policy of its reason.

    Raises ValidationRefused for an instant that has come, or lies more than 10 years ahead.
    """
    expires_at = command.expires_at
    if isinstance(expires_at, Unset):
        return policy.expires_at(earned_at=now)
    if expires_at is None:
        return None
    if expires_at <= now:
        raise ValidationRefused(
            field="expires_at", field_code="in_the_past", detail="expires_at is not in the future."
        )
    if expires_at > now + _TEN_YEARS:
        raise ValidationRefused(
            field="expires_at", field_code="too_far_ahead", detail="expires_at is more than 10 years ahead."
        )
    return expires_at
