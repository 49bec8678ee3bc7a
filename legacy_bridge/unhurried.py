"""A session for work that takes longer than a call may: installing, loading, the legacy's own batches.

A call for a client is bounded three times (`legacy_bridge.sessions`); none of the bounds fits an index over
millions of rows.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import connections

from legacy_bridge import sessions
from legacy_bridge.sessions import ALIAS, Session

_LONGEST_SECONDS: Final = 24 * 60 * 60


@contextmanager
def unhurried_session() -> Iterator[Session]:
    """A connection of its own, without timeouts. Raises NotDone when there is none to be had."""
    database = connections[ALIAS]
    usual = database.settings_dict
    database.settings_dict = {**usual, "OPTIONS": _without_timeouts(database.vendor, usual["OPTIONS"])}
    sessions.forget()
    try:
        with sessions.session(timeout_seconds=_LONGEST_SECONDS) as session:
            yield session
    finally:
        sessions.forget()
        database.settings_dict = usual


def _without_timeouts(vendor: str, options: dict[str, Any]) -> dict[str, Any]:
    if vendor == "postgresql":
        given = options.get("options", "")
        return {**options, "options": f"{given} -c statement_timeout=0 -c lock_timeout=0".strip()}
    return {
        **options,
        "read_timeout": None,
        "write_timeout": None,
        "init_command": "SET SESSION max_statement_time = 0",
    }
