"""Reasons and their versioned policies, as the rules need them.

Both tables are small and change rarely, so each process keeps them for a moment. A policy that
changed is in force everywhere within `KEPT_SECONDS` (docs/adr/0006-reasons-and-policies.md).
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ledger import bounds, clock
from ledger.errors import ValidationRefused
from ledger.models import ExpiryRounding, Reason, ReasonPolicy

KEPT_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    id: int
    reason_id: int
    reason_code: str
    validity_days: int | None
    expiry_rounding: str
    restore: str
    grace_days: int
    clawback: str

    def expires_at(self, *, earned_at: datetime) -> datetime | None:
        """When points earned at `earned_at` lapse: None for never."""
        if self.validity_days is None:
            return None
        return self._after(earned_at, days=self.validity_days)

    def grace_expires_at(self, *, restored_at: datetime) -> datetime:
        """When points that came back at `restored_at` into an expired lot lapse."""
        return self._after(restored_at, days=self.grace_days)

    def _after(self, instant: datetime, *, days: int) -> datetime:
        if self.expiry_rounding == ExpiryRounding.NONE:
            return instant + timedelta(days=days)
        zone = clock.programme_zone()
        day = instant.astimezone(zone).date() + timedelta(days=days + 1)
        # The end of a day is the start of the next: lots are spendable while now < expires_at.
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonBook:
    """All reasons by code and all policies by id, as of one moment."""

    reasons: dict[str, tuple[Reason, Policy]]
    policies: dict[int, Policy]
    codes: dict[int, str]

    def reason_for(self, *, code: str, kind: str, field: str = "reason") -> Policy:
        """The policy in force of the reason `code`, for an operation of `kind`.

        Raises ValidationRefused when there is no such reason, it is switched off, or it is for
        other kinds of operation.
        """
        found = self.reasons.get(code)
        if found is None or not found[0].is_active:
            raise ValidationRefused(
                field=field, field_code="unknown_reason", detail=f"There is no reason {code}."
            )
        if kind not in found[0].kinds:
            raise ValidationRefused(
                field=field,
                field_code="reason_not_allowed",
                detail=f"The reason {code} is not for this kind.",
            )
        return found[1]

    def policy(self, policy_id: int) -> Policy:
        """The policy of a lot, as far as the bounds that hold now leave it its own."""
        own = self.policies[policy_id]
        held = bounds.current()
        if held.restore is None and held.clawback is None:
            return own
        return replace(
            own,
            restore=own.restore if held.restore is None else held.restore.value,
            clawback=own.clawback if held.clawback is None else held.clawback.value,
        )


_kept: tuple[float, ReasonBook] | None = None


def current() -> ReasonBook:
    """The reasons and policies, at most `KEPT_SECONDS` old."""
    global _kept
    kept = _kept
    if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
        return kept[1]
    book = _load()
    _kept = (time.monotonic(), book)
    return book


def forget() -> None:
    """Read the tables again at the next use (after an edit in this process, and in tests)."""
    global _kept
    _kept = None


def _load() -> ReasonBook:
    reasons: dict[str, tuple[Reason, Policy]] = {}
    policies: dict[int, Policy] = {}
    for row in ReasonPolicy.objects.select_related("reason").order_by("reason_id", "version"):
        policy = Policy(
            id=row.id,
            reason_id=row.reason_id,
            reason_code=row.reason.code,
            validity_days=row.validity_days,
            expiry_rounding=row.expiry_rounding,
            restore=row.restore,
            grace_days=row.grace_days,
            clawback=row.clawback,
        )
        policies[policy.id] = policy
        reasons[policy.reason_code] = (row.reason, policy)
    codes = {reason.id: reason.code for reason, _ in reasons.values()}
    return ReasonBook(reasons=reasons, policies=policies, codes=codes)
