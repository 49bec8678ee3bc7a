"""The tables of finance as CSV: whole numbers, dates as ISO, one header line."""

import csv
from collections.abc import Iterable, Iterator
from typing import Any, Final

from pointsystem.backoffice.finance.liability import OLDEST_MONTHS, Liability
from pointsystem.backoffice.finance.roll_forward import KINDS, Line

ROLL_FORWARD_HEADER: Final = ["month", "reason", "opening", *(kind.value for kind in KINDS), "closing"]
AGE_HEADER: Final = ["as_of", "months_since_earned", "lots", "points"]
EXPIRY_HEADER: Final = ["as_of", "expires_in", "lots", "points"]


class _Line:
    """What `csv.writer` writes into: each row comes straight back."""

    def write(self, text: str) -> str:
        return text


def written(header: list[str], rows: Iterable[list[Any]]) -> Iterator[str]:
    """The lines of a file, the header first."""
    write = csv.writer(_Line()).writerow
    yield write(header)
    for row in rows:
        yield write(row)


def roll_forward_rows(lines: Iterable[Line]) -> Iterator[list[Any]]:
    """The sum of a month has no reason; each reason comes after it."""
    for line in lines:
        yield [f"{line.month:%Y-%m}", line.reason, line.opening, *line.cells, line.closing]


def age_rows(found: Liability) -> Iterator[list[Any]]:
    """What has lapsed and is not written down as expired comes last, as it has no age that matters."""
    for each in found.ages:
        age = f"{each.months}+" if each.months == OLDEST_MONTHS else str(each.months)
        yield [found.at.isoformat(), age, each.lots, each.points]
    yield [found.at.isoformat(), "lapsed", found.lapsed.lots, found.lapsed.points]


def expiry_rows(found: Liability) -> Iterator[list[Any]]:
    for each in found.expiries:
        month = f"{each.month:%Y-%m}" if each.month else "never"
        yield [found.at.isoformat(), month, each.lots, each.points]
    yield [found.at.isoformat(), "lapsed", found.lapsed.lots, found.lapsed.points]
