"""The face of the cutover in this process, over the reference legacy. The ledger's database is the session's
own, and its route is set for each test; web server and workers of the session know no legacy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.legacy_bridge.conftest import (  # noqa: F401
    _databases,
    install_reference,
    legacy_database,
)

ROUTE = """
INSERT INTO cutover_route (cohort, stage, epoch, changed_at) VALUES ('default', %s, 1, clock_timestamp())
ON CONFLICT (cohort) DO UPDATE
SET stage = EXCLUDED.stage, epoch = cutover_route.epoch + 1, changed_at = clock_timestamp()
"""


def set_stage(stage: str) -> None:
    from cutover import routes
    from ledger.database import fetch_all

    fetch_all(ROUTE, [stage])
    routes.forget_hints()


@pytest.fixture
def legacy_only(legacy_database: Any, committed_db: None, settings: Any) -> Iterator[Any]:  # noqa: F811
    """The adapter of the reference legacy on PostgreSQL, while the legacy decides for everybody.

    It is one legacy for the whole session: the ids of its rows stand for operations in one ledger.
    """
    from cutover import routes
    from legacy_bridge import configured

    legacy_database("postgresql", prepare=install_reference)
    settings.HAS_LEGACY = True
    settings.LEGACY_ADAPTER = "legacy_bridge.reference.ReferenceAdapter"
    configured.adapter.cache_clear()
    set_stage("LEGACY_ONLY")
    yield configured.adapter()
    set_stage("NEW_ONLY")
    routes.forget_hints()
    configured.adapter.cache_clear()
