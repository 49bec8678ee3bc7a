"""Members as real legacies have them: rows, lots and what joins them, written past the procedures."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cutover.migrating import importing
from legacy_bridge import sessions
from legacy_bridge.unhurried import unhurried_session

SEOUL = ZoneInfo("Asia/Seoul")


def run(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with sessions.session() as session:
        return session.query(statement, parameters)


def member(number: str) -> str:
    run("INSERT INTO legacy.PT_MBR (MBR_NO, REG_DTM) VALUES (%s, '2020-01-01')", number)
    return number


def lot(
    number: str,
    points: int,
    remaining: int,
    *,
    at: str = "2026-01-10 09:00",
    until: str | None = None,
    type_code: str = "11",
) -> int:
    ((made,),) = run(
        "INSERT INTO legacy.PT_LOT (MBR_NO, TYPE_CD, SAVE_AMT, REMAIN_AMT, SAVE_DTM, EXPIRE_DTM, UPD_DTM)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING LOT_SEQ",
        number,
        type_code,
        points,
        remaining,
        datetime.fromisoformat(at),
        None if until is None else datetime.fromisoformat(until),
        datetime.fromisoformat(at),
    )
    return int(made)


def row(
    number: str,
    kind: str,
    points: int,
    *lots: tuple[int, int],
    at: str = "2026-01-10 09:00",
    cancels: int | None = None,
    type_code: str | None = "11",
) -> int:
    """A row of history, and the lots that it touched, each with its signed points."""
    ((made,),) = run(
        "INSERT INTO legacy.PT_HIST (MBR_NO, HIST_CD, TYPE_CD, AMT, BAL_AMT, ORG_SEQ, REG_ID, REG_DTM)"
        " VALUES (%s, %s, %s, %s, 0, %s, 'HAND', %s) RETURNING HIST_SEQ",
        number,
        kind,
        type_code,
        points,
        cancels,
        datetime.fromisoformat(at),
    )
    for place, (touched, part) in enumerate(lots, start=1):
        run(
            "INSERT INTO legacy.PT_HIST_LOT (HIST_SEQ, ORD_NO, LOT_SEQ, AMT) VALUES (%s, %s, %s, %s)",
            made,
            place,
            touched,
            part,
        )
    return int(made)


def bring(*numbers: str, limit: int = 10_000) -> importing.Imported:
    with unhurried_session() as session:
        return importing.bring(numbers, session=session, limit=limit)
