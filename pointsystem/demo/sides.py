"""Both sides beside each other, read from their own tables: every account, every lot that can be spent.

Customers go on meanwhile. What differs is read again until it agrees or has had time enough to: then it is a
difference, and no operation on its way.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from django.conf import settings

from cutover import lots
from ledger import clock
from ledger.database import fetch_all
from legacy_bridge.sessions import ALIAS
from pointsystem.demo.timeline import ZONE
from pointsystem.demo.world import local

_READ_AGAIN_SECONDS: Final = 0.5
_GIVE_UP_SECONDS: Final = 30.0

_LEGACY: Final = """
SELECT rtrim(MBR_NO), LOT_SEQ::text, SAVE_AMT, REMAIN_AMT, EXPIRE_DTM FROM legacy.PT_LOT
WHERE REMAIN_AMT > 0 AND (EXPIRE_DTM IS NULL OR EXPIRE_DTM > %(now)s)
    AND (%(only)s::text[] IS NULL OR MBR_NO = ANY (%(only)s::bpchar[]))
"""
_LEDGER: Final = """
SELECT account.account_number, lot.lot_id, lot.points, lot.remaining, lot.expires_at
FROM ledger_open_lot AS lot JOIN ledger_account AS account ON account.id = lot.account_id
WHERE (lot.expires_at IS NULL OR lot.expires_at > %(now)s)
    AND (%(only)s::text[] IS NULL OR account.account_number = ANY (%(only)s::text[]))
"""

#: By the id under which clients know a lot: points granted, points left, and when they lapse.
Lots = dict[Any, tuple[int, int, datetime | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    accounts: int
    lots: int
    ledger_points: int
    legacy_points: int
    #: A sentence for each account that differs.
    different: list[str]


def legacy_url() -> str:
    """Where the legacy's own database is."""
    parts = settings.DATABASES[ALIAS]
    return psycopg.conninfo.make_conninfo(
        host=parts["HOST"],
        port=parts["PORT"],
        user=parts["USER"],
        password=parts["PASSWORD"],
        dbname=parts["NAME"],
    )


def compare() -> Compared:
    """Compare everything. Raises DatabaseError, psycopg.Error."""
    with psycopg.connect(legacy_url(), autocommit=True) as connection:
        legacy, ledger = _read_legacy(connection, None), _read_ledger(None)
        give_up_at = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            wrong = {number for number in {*legacy, *ledger} if legacy.get(number) != ledger.get(number)}
            if not wrong or time.monotonic() > give_up_at:
                break
            time.sleep(_READ_AGAIN_SECONDS)
            for number in wrong:
                legacy.pop(number, None)
                ledger.pop(number, None)
            legacy.update(_read_legacy(connection, wrong))
            ledger.update(_read_ledger(wrong))
    return Compared(
        accounts=len({*legacy, *ledger}),
        lots=sum(map(len, ledger.values())),
        ledger_points=_points(ledger),
        legacy_points=_points(legacy),
        different=[
            f"{number}: the legacy has {_told(legacy.get(number))}, the ledger {_told(ledger.get(number))}"
            for number in sorted(wrong)
        ],
    )


def inbox_count(*, before_now: bool = False) -> int:
    """What waits in the inbox; with `before_now` only of the shop's own customers: others keep coming."""
    condition = "WHERE account_number LIKE 'CD-%%'" if before_now else ""
    ((count,),) = fetch_all(f"SELECT count(*) FROM ledger_inbox {condition}", [])  # noqa: S608
    return int(count)


def _read_legacy(connection: psycopg.Connection[Any], only: Collection[str] | None) -> dict[str, Lots]:
    given = {"now": local(clock.now()), "only": None if only is None else [one.ljust(20) for one in only]}
    rows = connection.execute(_LEGACY, given).fetchall()
    ids = lots.ids_of([row[1] for row in rows], is_exact=True)
    found: dict[str, Lots] = {}
    for number, lot, granted, left, expires in rows:
        moment = None if expires is None else expires.replace(tzinfo=ZONE)
        found.setdefault(number, {})[ids[lot]] = (granted, left, moment)
    return found


def _read_ledger(only: Collection[str] | None) -> dict[str, Lots]:
    found: dict[str, Lots] = {}
    given = {"now": clock.now(), "only": None if only is None else list(only)}
    for number, lot, granted, left, expires in fetch_all(_LEDGER, given):
        found.setdefault(number, {})[lot] = (granted, left, expires)
    return found


def _points(side: dict[str, Lots]) -> int:
    return sum(left for of_account in side.values() for _, left, _ in of_account.values())


def _told(of_account: Lots | None) -> str:
    if not of_account:
        return "nothing"
    return ", ".join(
        f"{left} of {granted} until {'ever' if expires is None else expires.astimezone(ZONE).date()}"
        for granted, left, expires in sorted(of_account.values(), key=str)
    )
