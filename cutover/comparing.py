"""One account on both sides, lot by lot, and what kind of difference each one is.

Where the legacy does not say which lots a row touched, lots may differ though nothing does: then what remains
is compared by the day on which it lapses.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cutover import lots as lot_ids
from cutover.mismatches import Found
from cutover.models import Difference
from ledger import clock
from ledger.database import fetch_all
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.records import LegacyLot
from legacy_bridge.sessions import Session

#: Kept with fewer digits.
_ROUNDED: Final = timedelta(seconds=1)
#: Zones differ by whole quarters of an hour, and by no more than this.
_FARTHEST_ZONE: Final = timedelta(hours=14)
_QUARTER: Final = timedelta(minutes=15)

# What a repair put beside a lot counts for the lot.
_LEDGER_LOTS: Final = """
WITH RECURSIVE held AS (
    SELECT account.account_number, lot.id, lot.id AS top, lot.origin_id, lot.account_id, open.remaining,
        lot.expires_at
    FROM ledger_account AS account
    JOIN ledger_open_lot AS open ON open.account_id = account.id
    JOIN ledger_lot AS lot ON lot.id = open.lot_id
    WHERE account.account_number = ANY (%s)
    UNION ALL
    SELECT held.account_number, held.id, origin.id, origin.origin_id, held.account_id, held.remaining,
        held.expires_at
    FROM held JOIN ledger_lot AS origin ON origin.id = held.origin_id AND origin.account_id = held.account_id
)
SELECT DISTINCT ON (account_number, id) account_number, id, top, remaining, expires_at
FROM held
ORDER BY account_number, id, (origin_id IS NULL) DESC, top
"""
_UNSETTLED: Final = """
SELECT DISTINCT account_number FROM cutover_message
WHERE account_number = ANY (%(accounts)s) AND state IN ('waiting', 'parked')
UNION
SELECT account_number FROM cutover_intent
WHERE account_number = ANY (%(accounts)s) AND state IN ('open', 'in_doubt')
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    lot: UUID
    remaining: int
    expires_at: datetime | None


def differences(
    adapter: LegacyAdapter, session: Session, account_numbers: Sequence[str]
) -> dict[str, list[Found]]:
    """By account, what differs now; only accounts with a difference. Raises LegacyError, DatabaseError."""
    has_lots = Feature.LOTS in adapter.features
    with session.snapshot():
        balances = adapter.balances_of_accounts(session, account_numbers=account_numbers)
        legacy = adapter.lots_of_accounts(session, account_numbers=account_numbers) if has_lots else {}
    now = clock.now()
    ledger: dict[str, list[_Held]] = defaultdict(list)
    for number, _, top, remaining, expires_at in fetch_all(_LEDGER_LOTS, [list(account_numbers)]):
        ledger[number].append(_Held(lot=top, remaining=remaining, expires_at=expires_at))
    ids = lot_ids.ids_of({lot.lot_id for of_account in legacy.values() for lot in of_account})
    found = {}
    for number in account_numbers:
        held = ledger.get(number, [])
        of_account = list(_balance(number, balances.get(number, 0), held, now=now))
        if has_lots:
            kept = {ids[lot.lot_id]: lot for lot in legacy.get(number, ())}
            compare = _lots if adapter.tells_shares else _days
            differ = list(compare(number, kept, held, is_balance_equal=not of_account, now=now))
            of_account = _without_followers(of_account, differ)
        if of_account:
            found[number] = of_account
    return found


def unsettled(account_numbers: Sequence[str]) -> set[str]:
    """Those of these accounts on which one side still owes the other something."""
    return {row[0] for row in fetch_all(_UNSETTLED, {"accounts": list(account_numbers)})}


def _balance(number: str, legacy: int, held: Sequence[_Held], *, now: datetime) -> Iterator[Found]:
    available = sum(lot.remaining for lot in held if lot.expires_at is None or now < lot.expires_at)
    if available != legacy:
        yield Found(
            account_number=number,
            subject="balance",
            difference=Difference.REAL,
            legacy=legacy,
            ledger=available,
            why="Other points can be spent.",
        )


def _without_followers(balance: list[Found], differ: list[Found]) -> list[Found]:
    """A balance that differs because expiries do is of their class."""
    classes = {each.difference for each in differ}
    if balance and classes and classes <= {Difference.ZONE, Difference.ROUNDING}:
        (of_balance,) = balance
        balance = [
            Found(
                account_number=of_balance.account_number,
                subject=of_balance.subject,
                difference=Difference.ZONE if Difference.ZONE in classes else Difference.ROUNDING,
                legacy=of_balance.legacy,
                ledger=of_balance.ledger,
                why="Lots lapse at another moment.",
            )
        ]
    return [*balance, *differ]


def _lots(
    number: str,
    kept: Mapping[UUID, LegacyLot],
    held: Sequence[_Held],
    *,
    is_balance_equal: bool,
    now: datetime,
) -> Iterator[Found]:
    here: dict[UUID, list[_Held]] = defaultdict(list)
    for lot in held:
        here[lot.lot].append(lot)
    for lot_id in dict.fromkeys([*kept, *here]):
        of_legacy = kept.get(lot_id)
        rest = of_legacy.remaining if of_legacy else 0
        remaining = sum(lot.remaining for lot in here.get(lot_id, ()))
        name = of_legacy.lot_id if of_legacy else str(lot_id)
        if rest != remaining:
            moments = [lot.expires_at for lot in here.get(lot_id, ())]
            if of_legacy is not None:
                moments.append(of_legacy.expires_at)
            if all(_has_lapsed(moment, now=now) for moment in moments):
                continue
            yield Found(
                account_number=number,
                subject=f"lot:{name}",
                difference=Difference.ORDER if is_balance_equal and rest >= 0 else Difference.REAL,
                legacy=rest if of_legacy else None,
                ledger=remaining if lot_id in here else None,
                why="The sum is the same, over other lots." if is_balance_equal else "Another rest.",
            )
        elif of_legacy is not None and rest:
            yield from _expiry(number, of_legacy, here[lot_id])


def _has_lapsed(expires_at: datetime | None, *, now: datetime) -> bool:
    """What has lapsed is taken away by each side's own job, sooner or later: nobody can spend it any more."""
    return expires_at is not None and expires_at <= now


def _expiry(number: str, of_legacy: LegacyLot, held: Sequence[_Held]) -> Iterator[Found]:
    for lot in held:
        difference = expiry_difference(of_legacy.expires_at, lot.expires_at)
        if difference is not None:
            yield Found(
                account_number=number,
                subject=f"lot:{of_legacy.lot_id}",
                difference=difference,
                legacy=_text(of_legacy.expires_at),
                ledger=_text(lot.expires_at),
                why="It lapses at another moment.",
            )
            return


def expiry_difference(legacy: datetime | None, ledger: datetime | None) -> Difference | None:
    """The class of a difference between two expiries, or None."""
    if legacy == ledger:
        return None
    if legacy is None or ledger is None:
        return Difference.REAL
    apart = abs(legacy - ledger)
    if apart < _ROUNDED:
        return Difference.ROUNDING
    if apart <= _FARTHEST_ZONE and apart % _QUARTER == timedelta(0):
        return Difference.ZONE
    return Difference.REAL


def _days(
    number: str,
    kept: Mapping[UUID, LegacyLot],
    held: Sequence[_Held],
    *,
    is_balance_equal: bool,
    now: datetime,
) -> Iterator[Found]:
    legacy: dict[str, int] = defaultdict(int)
    ledger: dict[str, int] = defaultdict(int)
    for of_legacy in kept.values():
        if not _has_lapsed(of_legacy.expires_at, now=now):
            legacy[_day(of_legacy.expires_at)] += of_legacy.remaining
    for lot in held:
        if not _has_lapsed(lot.expires_at, now=now):
            ledger[_day(lot.expires_at)] += lot.remaining
    for day in sorted({*legacy, *ledger}):
        if legacy[day] != ledger[day]:
            yield Found(
                account_number=number,
                subject=f"expiry:{day}",
                difference=Difference.ORDER if is_balance_equal else Difference.REAL,
                legacy=legacy[day],
                ledger=ledger[day],
                why="Another rest lapses on that day; the legacy does not say which lots its rows touched.",
            )


def _day(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "never"
    return expires_at.astimezone(clock.programme_zone()).date().isoformat()


def _text(value: datetime | None) -> Any:
    return None if value is None else value.isoformat()
