"""What would go wrong only when the first request comes is said when a process starts."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection
from django.db.utils import InterfaceError

from legacy_bridge import configured, sessions

#: The tag of what web servers and workers refuse to start with.
TAG = "points"


@checks.register(TAG)
def no_legacy_is_forgotten(databases: Sequence[str] | None = None, **_: Any) -> list[checks.CheckMessage]:
    """cutover.E002: until the cutover is finished, the legacy is named. Without it the ledger would answer
    alone: while the legacy decides it must not, and after that it would do what nobody could follow."""
    if settings.HAS_LEGACY or not settings.HAS_DATABASE or "default" not in (databases or ()):
        return []
    rows: list[Any] = []
    was_open = connection.connection is not None
    with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:
        cursor.execute("SELECT cohort, stage FROM cutover_route WHERE finished_at IS NULL LIMIT 1")
        rows = cursor.fetchall()
    if not was_open:
        # Nobody else asked for this connection, and a server that forks must not share it.
        connection.close()
    if not rows:
        return []
    return [
        checks.Error(
            f"The stage of cohort {rows[0][0]} is {rows[0][1]}, and no legacy is configured.",
            hint="Set LEGACY_DATABASE_URL, or finish the cutover first (`manage.py cutover finish`).",
            id="cutover.E002",
        )
    ]


@checks.register(TAG)
def legacy_adapter_loads(**_: Any) -> list[checks.CheckMessage]:
    """cutover.E001: LEGACY_ADAPTER names a class that can be made."""
    if not settings.HAS_LEGACY or not sessions.is_configured():
        return []
    try:
        configured.adapter()
    except (ImportError, AttributeError, TypeError) as error:
        return [
            checks.Error(
                f"The adapter of the legacy cannot be made: {error}",
                hint="LEGACY_ADAPTER is the dotted path of a subclass of LegacyAdapter.",
                id="cutover.E001",
            )
        ]
    return []
