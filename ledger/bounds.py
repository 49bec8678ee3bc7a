"""What the ledger's own rules give way to while another side must be able to follow its decisions.

By itself the ledger takes the lots that lapse soonest, and keeps each reason's own policies. Under a cutover
the legacy does the same operations again: it must come to the same lots, and can only do what it has a form
for. Whoever knows that side says so here, around the operation (docs/adr/0024-the-ledger-within-bounds.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum

from ledger.models import Clawback, Restore


class SpendingOrder(Enum):
    """Which lots a spend takes first; ties go to the oldest, then to the lowest id."""

    SOONEST_EXPIRY = "soonest expiry"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    spending_order: SpendingOrder = SpendingOrder.SOONEST_EXPIRY
    #: In place of what the policy of a lot says; None leaves it its own.
    restore: Restore | None = None
    clawback: Clawback | None = None


NONE = Bounds()

_current: ContextVar[Bounds] = ContextVar("ledger_bounds", default=NONE)


def current() -> Bounds:
    """The bounds that hold for what is decided now."""
    return _current.get()


@contextmanager
def within(bounds: Bounds) -> Iterator[None]:
    """Decide within `bounds` until the end of the block."""
    token = _current.set(bounds)
    try:
        yield
    finally:
        _current.reset(token)
