"""The marker table: the bridge's own, in the legacy database.

A procedure that takes no id of ours, and does not commit by itself, is called in a transaction in which our
operation id goes into this table too. Whether the id is there then says whether the procedure was done.
"""

import json
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from legacy_bridge.records import Decision, Share
from legacy_bridge.sessions import Session

TABLE: Final = "pointsystem_marker"

#: Made by the database's owner once; the bridge needs SELECT and INSERT on it, and nothing else.
STATEMENTS: Final = {
    "postgresql": f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    operation_id char(36) NOT NULL PRIMARY KEY,
    decision text NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT now()
)""",
    # InnoDB whatever the default is: an engine without transactions would keep what is rolled back.
    "mysql": f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    operation_id CHAR(36) CHARACTER SET ascii NOT NULL PRIMARY KEY,
    decision MEDIUMTEXT NOT NULL,
    marked_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
) ENGINE = InnoDB""",
    # Written from the documentation; nobody has run it.
    "microsoft": f"""
IF OBJECT_ID('{TABLE}') IS NULL CREATE TABLE {TABLE} (
    operation_id CHAR(36) NOT NULL PRIMARY KEY,
    decision NVARCHAR(MAX) NOT NULL,
    marked_at DATETIME2 NOT NULL DEFAULT SYSUTCDATETIME()
)""",
}


def create(session: Session) -> None:
    """Make the table where it is missing."""
    session.query(STATEMENTS[session.vendor])


def put(session: Session, *, operation_id: UUID, decision: Decision) -> None:
    """Note that the operation was done, and what came of it. The same id twice is refused by the key."""
    session.query(
        f"INSERT INTO {TABLE} (operation_id, decision) VALUES (%s, %s)",  # noqa: S608
        [str(operation_id), json.dumps(_stored(decision))],
    )


def find(session: Session, *, operation_id: UUID) -> Decision | None:
    """What the operation did, or None."""
    rows = session.query(
        f"SELECT decision FROM {TABLE} WHERE operation_id = %s",  # noqa: S608
        [str(operation_id)],
    )
    return _decision(json.loads(rows[0][0])) if rows else None


def _stored(decision: Decision) -> dict[str, Any]:
    return {
        "row_id": decision.row_id,
        "points": decision.points,
        "recorded_at": decision.recorded_at.isoformat(),
        "balance_after": decision.balance_after,
        "shares": None
        if decision.shares is None
        else [
            [share.lot_id, share.points, share.expires_at.isoformat() if share.expires_at else None]
            for share in decision.shares
        ],
    }


def _decision(stored: dict[str, Any]) -> Decision:
    shares = stored["shares"]
    return Decision(
        row_id=stored["row_id"],
        points=stored["points"],
        recorded_at=datetime.fromisoformat(stored["recorded_at"]),
        balance_after=stored["balance_after"],
        shares=None
        if shares is None
        else tuple(
            Share(lot_id=lot, points=points, expires_at=datetime.fromisoformat(at) if at else None)
            for lot, points, at in shares
        ),
    )
