"""Puts the reference legacy into the database behind the alias `legacy`, and takes it away again."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings

from legacy_bridge import marker
from legacy_bridge.sessions import Session

_FILES: Final = Path(__file__).parent
#: What ends a statement in the files for MariaDB, as its own client reads them.
_DELIMITER: Final = "$$"
SCHEMA: Final = "legacy"


class AlreadyInstalled(Exception):
    """There is a reference legacy in this database already."""


def install(session: Session, *, replace: bool = False) -> None:
    """Make tables and procedures, and the bridge's marker table. Raises AlreadyInstalled, unless `replace`
    takes the old one away with all that is in it."""
    if is_installed(session):
        if not replace:
            raise AlreadyInstalled
        remove(session)
    # All or nothing, where the server can: MariaDB commits with every statement that makes something.
    with session.transaction():
        for statement in _statements(session.vendor):
            session.query(statement)
        _set_time_zone(session)
        marker.create(session)


def is_installed(session: Session) -> bool:
    schema = f"'{SCHEMA}'" if session.vendor == "postgresql" else "DATABASE()"
    # A half-made one counts too: whatever is there is somebody's.
    rows = session.query(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}"  # noqa: S608
    )
    return any(name.upper().startswith("PT_") for (name,) in rows)


def remove(session: Session) -> None:
    """Take the reference legacy away, and the marker table with it."""
    if session.vendor == "postgresql":
        session.query(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    else:
        _remove_from_mariadb(session)
    session.query(f"DROP TABLE IF EXISTS {marker.TABLE}")


def _remove_from_mariadb(session: Session) -> None:
    tables = session.query(
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name LIKE 'PT\\_%'"
    )
    routines = session.query(
        "SELECT routine_type, routine_name FROM information_schema.routines"
        " WHERE routine_schema = DATABASE() AND routine_name REGEXP '^(PT_NOW|FN_|PR_POINT_)'"
    )
    for (name,) in tables:
        session.query(f"DROP TABLE `{name}`")
    for kind, name in routines:
        session.query(f"DROP {kind} `{name}`")


def _statements(vendor: str) -> Iterator[str]:
    folder = _FILES / ("postgresql" if vendor == "postgresql" else "mariadb")
    for path in sorted(folder.glob("*.sql")):
        script = path.read_text(encoding="utf-8")
        if vendor == "postgresql":
            yield script
        else:
            parts = script.replace(f"DELIMITER {_DELIMITER}\n", "").split(_DELIMITER)
            yield from (part for part in parts if part.strip())


def _set_time_zone(session: Session) -> None:
    """The legacy's clock goes by the zone that the bridge reads its times in."""
    zone = settings.POINTS_LEGACY_TIME_ZONE
    table = "PT_CONFIG"
    if session.vendor == "postgresql":
        table = f"{SCHEMA}.{table}"
    else:
        ((converted,),) = session.query("SELECT CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', %s)", [zone])
        if converted is None:
            # Names of zones are tables there, and most servers have none: then its distance of today.
            zone = _offset(zone)
    session.query(f"UPDATE {table} SET CFG_VAL = %s WHERE CFG_KEY = 'TIME_ZONE'", [zone])  # noqa: S608


def _offset(zone: str) -> str:
    offset = datetime.now(UTC).astimezone(ZoneInfo(zone)).strftime("%z")
    return f"{offset[:3]}:{offset[3:]}"
