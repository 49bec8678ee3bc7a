"""What the customers do with their points: the file tells their orders only.

Everything is chosen by a digest of who and what, so that every run does the same, and no choice depends on
another. The shares are made up, and large enough that each rule of the ledger is met many times.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from pointsystem.demo.orders import Order

SAVERS = 0.75
LEAST_PAYMENT_POINTS = 500
PAYMENT_STEP_POINTS = 100
OVERDRAWN = 0.02
RETURNED_WHOLE = 0.05
RETURNED_IN_PART = 0.06
RETURNED_LATE = 0.15
REVIEWED = 0.04
GIVEN = 0.03
SENT_AGAIN = 0.03

COMPLAINED = 0.03

REVIEW_POINTS = 50
GIFT_POINTS = 100
CARE_POINTS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """Points that pay a part of an order; more than are available where the customer miscounts."""

    points: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """An order that comes back, whole or in part, `after` its day."""

    order: Order
    is_whole: bool
    after: timedelta


def draw(*words: str | int) -> float:
    """A number from 0 to 1 that these words always give."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2**56


def looks_at_balance(order: Order) -> bool:
    """Whether the customer is one who saves points, and looks at checkout how many there are."""
    return draw("saver", order.account_number) < SAVERS


def payment_of(order: Order, *, available: int) -> Payment | None:
    """What the customer pays with points: hundreds, up to the price (1 point pays 1 cent)."""
    if draw("overdrawn", order.number) < OVERDRAWN:
        return Payment(points=available + PAYMENT_STEP_POINTS)
    if available < LEAST_PAYMENT_POINTS:
        return None
    points = min(available, order.cents) // PAYMENT_STEP_POINTS * PAYMENT_STEP_POINTS
    return Payment(points=points) if points else None


def return_of(order: Order) -> Return | None:
    """Most come back within two weeks, some after 11 months: points that paid then have lapsed meanwhile."""
    drawn = draw("return", order.number)
    if drawn >= RETURNED_WHOLE + RETURNED_IN_PART:
        return None
    days = 1 + int(draw("return days", order.number) * 14)
    if draw("late", order.number) < RETURNED_LATE:
        days += 330
    return Return(order=order, is_whole=drawn < RETURNED_WHOLE, after=timedelta(days=days))


def writes_review(order: Order) -> bool:
    return draw("review", order.number) < REVIEWED


def complains(order: Order) -> bool:
    """Whether something was wrong with the order, and the customer is given points for it."""
    return draw("complaint", order.number) < COMPLAINED


def gift_receiver(order: Order, *, account_numbers: list[str]) -> str | None:
    """The account that the customer gives points to after this order, or None."""
    if draw("gift", order.number) >= GIVEN:
        return None
    receiver = account_numbers[int(draw("receiver", order.number) * len(account_numbers))]
    return None if receiver == order.account_number else receiver


def is_sent_again(key: str) -> bool:
    """Whether the service sends the request twice, as after a timeout."""
    return draw("again", key) < SENT_AGAIN
