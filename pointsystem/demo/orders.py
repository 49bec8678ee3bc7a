"""The orders of the CDNOW sample. data/README.md names their source."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

ORDERS_FILE = Path(__file__).parent / "data" / "CDNOW_sample.txt"
CENTS_A_POINT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One order of one customer; `number` is its line in the file, from 1."""

    number: int
    account_number: str
    day: date
    cents: int

    @property
    def points(self) -> int:
        """What the order earns: 1 point for every full 10 cents."""
        return self.cents // CENTS_A_POINT

    @property
    def reference(self) -> str:
        return f"order-{self.number}"


def read_orders(*, limit: int | None = None, path: Path = ORDERS_FILE) -> Sequence[Order]:
    """The orders in the order of the file: by customer, then by day.

    With `limit`, the first that many, so that few customers keep their whole history.
    """
    lines = path.read_text(encoding="ascii").splitlines()
    return [_order(number, line) for number, line in enumerate(lines[:limit], start=1)]


def _order(number: int, line: str) -> Order:
    _, customer, day, _, dollars = line.split()
    return Order(
        number=number,
        account_number=f"CD-{customer}",
        day=date(int(day[:4]), int(day[4:6]), int(day[6:])),
        cents=int(Decimal(dollars) * 100),
    )
