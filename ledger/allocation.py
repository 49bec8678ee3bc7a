"""Which lots an operation touches: pure rules, lots in, allocations out (design: the domain).

Taking goes by soonest expiry (never-expiring last), then the oldest, then the lowest id. Giving
back goes in the reverse order of taking, so that taking a and giving back b leaves the same lots
as taking a - b.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True, kw_only=True)
class LotState:
    """A lot as the rules see it: immutable facts, and what remains while an operation is decided."""

    id: UUID
    account_id: int
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    reason_id: int | None = None
    policy_id: int | None = None

    @property
    def spending_order(self) -> tuple[datetime, datetime, UUID]:
        return (self.expires_at or _NEVER, self.earned_at, self.id)

    @property
    def order_of_age(self) -> tuple[datetime, UUID]:
        """Where another side must be able to follow that takes the oldest first (`ledger.bounds`)."""
        return (self.earned_at, self.id)

    def is_live(self, *, at: datetime) -> bool:
        """That instant decides, not the expire job: spendable while `at` < expires_at."""
        return self.expires_at is None or at < self.expires_at


@dataclass(frozen=True, slots=True)
class Share:
    """`points` of `lot`, always positive; the entry's kind gives the sign."""

    lot: LotState
    points: int


def take(*, lots: Iterable[LotState], points: int, at: datetime) -> list[Share]:
    """Take up to `points` from the live ones of `lots`, which come in spending order.

    Lowers what remains in them. The caller compares the sum with what was asked: the check is this
    result, never a separate sum.
    """
    shares: list[Share] = []
    missing = points
    for lot in lots:
        if missing == 0:
            break
        if lot.remaining == 0 or not lot.is_live(at=at):
            continue
        taken = min(lot.remaining, missing)
        lot.remaining -= taken
        missing -= taken
        shares.append(Share(lot, taken))
    return shares


def give_back(
    *, taken: Sequence[tuple[UUID, int]], already_given_back: int, points: int
) -> list[tuple[UUID, int]]:
    """Which lots `points` go back to, in the reverse order of `taken` (lot id, points).

    The first `already_given_back` points, counted in that same reverse order, have gone back
    before. Raises ValueError for more than is left.
    """
    shares: list[tuple[UUID, int]] = []
    skip, missing = already_given_back, points
    for lot_id, amount in reversed(taken):
        if missing == 0:
            break
        skipped = min(skip, amount)
        skip -= skipped
        given = min(amount - skipped, missing)
        missing -= given
        if given:
            shares.append((lot_id, given))
    if missing:
        raise ValueError(f"{missing} points more than were taken")
    return shares


def total(shares: Iterable[Share]) -> int:
    return sum(share.points for share in shares)
