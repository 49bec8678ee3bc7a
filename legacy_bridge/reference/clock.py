"""The clock of the reference legacy, which a replay of past months stops where it needs it."""

from datetime import datetime

from legacy_bridge.calling import moment, one
from legacy_bridge.sessions import Session


def stop_at(session: Session, *, local: datetime) -> None:
    """Whatever is done from now on, by anybody, is done at this local moment."""
    if session.vendor == "postgresql":
        session.query(
            "INSERT INTO legacy.PT_CLOCK (ROW_NO, FIXED_DTM) VALUES (1, %s)"
            " ON CONFLICT (ROW_NO) DO UPDATE SET FIXED_DTM = EXCLUDED.FIXED_DTM",
            [local],
        )
    else:
        session.query("REPLACE INTO PT_CLOCK (ROW_NO, FIXED_DTM) VALUES (1, %s)", [local])


def run(session: Session) -> None:
    """It is now again."""
    schema = "legacy." if session.vendor == "postgresql" else ""
    session.query(f"DELETE FROM {schema}PT_CLOCK")  # noqa: S608


def local_now(session: Session) -> datetime:
    """What the legacy takes for now."""
    schema = "legacy." if session.vendor == "postgresql" else ""
    return moment(one(session.query(f"SELECT {schema}PT_NOW()"))[0])
