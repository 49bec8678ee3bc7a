"""Which accounts an assignment is about, and what would become of them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from cutover.models import Direction
from cutover.routes import CurrentRoute
from cutover.switching.errors import BadAssignment
from ledger.database import fetch_all

_LONGEST_ACCOUNT_NUMBER: Final = 64

_KNOWN: Final = """
SELECT account_number FROM ledger_account UNION SELECT account_number FROM cutover_followed_account
"""
# The same account has the same place for ever: a larger percentage takes those of the smaller one, and more.
_IS_AMONG: Final = """
('x' || substr(md5(known.account_number), 1, 8))::bit(32)::bigint %% 10000 < %(basis_points)s
"""
_BY_PERCENTAGE: Final = f"""
SELECT known.account_number FROM ({_KNOWN}) AS known
LEFT JOIN cutover_member AS member ON member.account_number = known.account_number
WHERE coalesce(member.cohort, 'default') = %(source)s AND known.account_number > %(after)s AND {_IS_AMONG}
ORDER BY known.account_number
LIMIT %(limit)s
"""  # noqa: S608  (only constants are put into the text)
_OF_SOURCE: Final = """
SELECT number FROM unnest(%(accounts)s::text[]) AS number
LEFT JOIN cutover_member AS member ON member.account_number = number
WHERE coalesce(member.cohort, 'default') = %(source)s
"""
_CHOSEN_BY_PERCENTAGE: Final = f"SELECT known.account_number FROM ({_KNOWN}) AS known WHERE {_IS_AMONG}"  # noqa: S608
_CHOSEN_BY_NAME: Final = "SELECT unnest(%(accounts)s::text[]) AS account_number"
_COUNT: Final = """
WITH chosen AS ({chosen}), moving AS MATERIALIZED (
    SELECT chosen.account_number FROM chosen
    LEFT JOIN cutover_member AS member ON member.account_number = chosen.account_number
    WHERE coalesce(member.cohort, 'default') = %(source)s
), owing AS (
    SELECT account_number, direction FROM cutover_message WHERE state IN ('waiting', 'parked')
    UNION
    SELECT account_number, 'to_ledger' FROM cutover_intent WHERE state IN ('open', 'in_doubt')
)
SELECT (SELECT count(*) FROM chosen), (SELECT count(*) FROM moving),
    (SELECT count(*) FROM moving WHERE NOT EXISTS (
        SELECT FROM ({known}) AS known WHERE known.account_number = moving.account_number
    )),
    (SELECT count(DISTINCT moving.account_number) FROM moving JOIN owing USING (account_number)
        WHERE owing.direction = %(held_by_source)s),
    (SELECT count(DISTINCT moving.account_number) FROM moving JOIN owing USING (account_number)
        WHERE owing.direction = %(held_by_target)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which accounts: these, or a percentage of those that the ledger knows."""

    accounts: tuple[str, ...] | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        """Raises BadAssignment."""
        if (self.accounts is None) == (self.percent is None):
            raise BadAssignment("Say which accounts, or a percentage; not both.")
        if self.percent is not None and not 0 < self.percent <= 100:
            raise BadAssignment("A percentage is above 0, and at most 100.")
        if self.accounts is not None and not self.accounts:
            raise BadAssignment("There is no account among what was given.")
        for number in self.accounts or ():
            if not 0 < len(number) <= _LONGEST_ACCOUNT_NUMBER or "\x00" in number:
                raise BadAssignment(f"{number[:80]!r} is no account number.")

    @property
    def words(self) -> str:
        """Names the choice, always in the same way."""
        if self.percent is not None:
            return f"{self.percent:g} percent"
        numbers = sorted(set(self.accounts or ()))
        digest = hashlib.sha256("\n".join(numbers).encode()).hexdigest()
        return f"{len(numbers)} accounts ({digest[:16]})"

    def batches(self, *, source: str, after: str | None, at_most: int) -> Iterator[tuple[list[str], int]]:
        """The accounts of `source` that are still to be moved, in order, and with each batch how many were
        passed over because they are of another cohort. `after` is the last account that is done."""
        if self.percent is not None:
            yield from self._batches_by_percentage(source, at_most)
            return
        numbers = [number for number in sorted(set(self.accounts or ())) if after is None or number > after]
        for start in range(0, len(numbers), at_most):
            batch = numbers[start : start + at_most]
            of_source = {row[0] for row in fetch_all(_OF_SOURCE, {"accounts": batch, "source": source})}
            yield [number for number in batch if number in of_source], len(batch) - len(of_source)

    def _batches_by_percentage(self, source: str, at_most: int) -> Iterator[tuple[list[str], int]]:
        after = ""
        while rows := fetch_all(
            _BY_PERCENTAGE,
            {"source": source, "after": after, "basis_points": self._basis_points, "limit": at_most},
        ):
            after = rows[-1][0]
            yield [row[0] for row in rows], 0

    @property
    def _basis_points(self) -> int:
        return round((self.percent or 0) * 100)

    def as_parameters(self) -> dict[str, Any]:
        if self.percent is not None:
            return {"basis_points": self._basis_points}
        return {"accounts": sorted(set(self.accounts or ()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a choice comes to now. It is counted anew by the assignment itself, batch by batch."""

    moves: int
    #: Given by name, and of another cohort than the one that they were to come from.
    not_of_source: int
    #: Of those that move, nobody has seen these yet: they are of the cohort when they first come.
    never_seen: int
    #: Of those that move, these wait now until what their earlier decider owes is settled.
    held_now: int
    #: And these will, under the stage that they go to.
    held_after: int


def count(choice: Choice, *, source: CurrentRoute, target: CurrentRoute) -> Counted:
    """How many accounts an assignment from `source` to `target` would move, and how many of them wait."""
    is_percentage = choice.percent is not None
    statement = _COUNT.format(
        chosen=_CHOSEN_BY_PERCENTAGE if is_percentage else _CHOSEN_BY_NAME, known=_KNOWN
    )
    ((chosen, moves, never_seen, held_now, held_after),) = fetch_all(
        statement,
        {
            **choice.as_parameters(),
            "source": source.cohort,
            "held_by_source": _held_by(source),
            "held_by_target": _held_by(target),
        },
    )
    return Counted(
        moves=moves,
        not_of_source=0 if is_percentage else chosen - moves,
        never_seen=never_seen,
        held_now=held_now,
        held_after=held_after,
    )


def _held_by(route: CurrentRoute) -> str:
    return Direction(route.old_direction).value
