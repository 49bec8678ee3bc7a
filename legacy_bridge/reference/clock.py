"""The clock of the reference legacy, which a replay of past months stops where it needs it."""

from datetime import datetime

from legacy_bridge.sessions import Session


def _table(session: Session) -> str:
    return "legacy.PT_CLOCK" if session.vendor == "postgresql" else "PT_CLOCK"


def stop_at(session: Session, *, local: datetime) -> None:
    """Whatever is done from now on, by anybody, is done at this local moment."""
    table = _table(session)
    if session.query(f"SELECT 1 FROM {table}"):  # noqa: S608
        session.query(f"UPDATE {table} SET FIXED_DTM = %s", [local])  # noqa: S608
    else:
        session.query(f"INSERT INTO {table} (ROW_NO, FIXED_DTM) VALUES (1, %s)", [local])  # noqa: S608


def run(session: Session) -> None:
    """It is now again."""
    session.query(f"DELETE FROM {_table(session)}")  # noqa: S608
