"""Fills the reference legacy with history of any size, in a few statements for each chunk of members.

A member's life is a number of cycles. In each, two lots are saved, used across both, some of that use is
cancelled, some of the second lot's saving too, and it is used again; at its end everything left is used, or
lapses. So no cycle inherits from the one before, and what is left in a lot, what a row moved and the balance
after it are each one formula of numbers drawn from the seed. The last cycle stops somewhere and stays open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from legacy_bridge.calling import one, whole
from legacy_bridge.reference import clock
from legacy_bridge.reference.generating.statements import Statements, member_number
from legacy_bridge.sessions import Session

__all__ = ["AlreadyGenerated", "Generated", "generate", "member_number"]

#: Rows of history that one chunk makes, about; each chunk is a transaction.
_ROWS_A_CHUNK: Final = 100_000
#: Rows that a cycle makes on average.
_ROWS_A_CYCLE: Final = 4.8
_YEARS: Final = 3


class AlreadyGenerated(Exception):
    """Members of this seed are there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    members: int
    lots: int
    rows: int
    flawed: int


def generate(
    session: Session,
    *,
    accounts: int,
    rows: int,
    seed: int,
    flawed_share: float = 0.0,
    on_members: Callable[[int], None] = lambda done: None,
) -> Generated:
    """Make `accounts` members with about `rows` rows of history over the last three years.

    Of `flawed_share` of them the history does not explain what they have, as in real systems. Raises
    AlreadyGenerated. Nobody else may write to the legacy meanwhile.
    """
    today = datetime.combine(clock.local_now(session).date(), time())
    statements = Statements(
        vendor=session.vendor,
        seed=seed,
        first_day=today - timedelta(days=365 * _YEARS),
        seconds=365 * _YEARS * 24 * 60 * 60,
        cycles_a_member=max(0.0, rows / accounts / _ROWS_A_CYCLE),
        flawed_share=flawed_share,
    )
    if session.query(statements.is_there()):
        raise AlreadyGenerated
    members_a_chunk = max(1, min(accounts, _ROWS_A_CHUNK * accounts // max(rows, 1)))
    made = Generated(members=0, lots=0, rows=0, flawed=0)
    for first in range(1, accounts + 1, members_a_chunk):
        last = min(accounts, first + members_a_chunk - 1)
        made = _generate_chunk(session, statements, first, last, made)
        on_members(made.members)
    for statement in statements.after_all():
        session.query(statement)
    return made


def _generate_chunk(
    session: Session, statements: Statements, first: int, last: int, made: Generated
) -> Generated:
    with session.transaction():
        lots = whole(one(session.query(statements.last_lot()))[0])
        rows = whole(one(session.query(statements.last_row()))[0])
        for statement in statements.draw(first=first, last=last, after_lot=lots, after_row=rows):
            session.query(statement)
        new_lots, new_rows, flawed = one(session.query(statements.counts()))
        for statement in statements.store():
            session.query(statement)
        for statement in statements.forget():
            session.query(statement)
    return Generated(
        members=made.members + last - first + 1,
        lots=made.lots + whole(new_lots),
        rows=made.rows + whole(new_rows),
        flawed=made.flawed + whole(flawed),
    )
