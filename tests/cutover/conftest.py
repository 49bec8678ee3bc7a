"""The face of the cutover in this process, over the reference legacy.

The database is another than the session's, whose workers know no legacy, and would do what is accepted
here in the ledger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.legacy_bridge.conftest import (  # noqa: F401
    _databases,
    install_reference,
    legacy_database,
)

STAGES = ("LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST", "NEW_ONLY")


def set_stage(stage: str) -> None:
    """Move the default route there, one step after the other."""
    from cutover import routes
    from ledger.database import fetch_all

    while (now := STAGES.index(routes.current().stage)) != STAGES.index(stage):
        step = STAGES[now + 1] if now < STAGES.index(stage) else STAGES[now - 1]
        fetch_all(CAPTURE)
        fetch_all(ROUTE, [step])
    routes.forget_hints()


def stop_capturing() -> None:
    """What is decided in LEGACY_ONLY leaves no messages."""
    from ledger.database import fetch_all

    fetch_all("UPDATE cutover_route SET capture = false, epoch = epoch + 1 WHERE capture")


def begin_epoch() -> None:
    """The same stage, under a new epoch."""
    from ledger.database import fetch_all

    fetch_all("UPDATE cutover_route SET capture = true, epoch = epoch + 1 WHERE cohort = 'default'")


CAPTURE = (
    "UPDATE cutover_route SET capture = true, epoch = epoch + 1 WHERE cohort = 'default' AND NOT capture"
)
ROUTE = """
UPDATE cutover_route SET stage = %s, epoch = epoch + 1, changed_at = clock_timestamp()
WHERE cohort = 'default'
"""


def migrated_database(suffix: str) -> Iterator[dict[str, str]]:
    """The environment that names another database than the session's, migrated; dropped at the end."""
    from pointsystem.embedded.stack import ROOT
    from pointsystem.embedded.testing import TestServers, create_database, drop_database

    servers = TestServers(**json.loads(os.environ["POINTS_TEST_SERVERS"]))
    names = ("DATABASE_URL", "MIGRATE_DATABASE_URL")
    parts = {name: urlsplit(os.environ[name]) for name in names}
    urls = {name: urlunsplit(url._replace(path=f"{url.path}_{suffix}")) for name, url in parts.items()}
    create_database(maker_url=servers.maker_url, url=urls[names[0]], owner_url=urls[names[1]])
    command = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity=0"]
    subprocess.run(command, env={**os.environ, **urls}, cwd=ROOT, check=True)
    yield urls
    drop_database(maker_url=servers.maker_url, url=urls[names[0]])


@pytest.fixture(scope="session")
def own_database(django_db_setup: None) -> Iterator[dict[str, str]]:
    """The environment that names a database of the cutover's tests alone, migrated."""
    yield from migrated_database("cutover")


@pytest.fixture
def at_own_database(
    own_database: dict[str, str], django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Real commits into the database of the cutover's tests."""
    from django.db import connections

    for name, url in own_database.items():
        monkeypatch.setenv(name, url)
    database = connections.databases["default"]
    before = database["NAME"]
    with django_db_blocker.unblock():
        connections["default"].close()
        database["NAME"] = urlsplit(own_database["DATABASE_URL"]).path.lstrip("/")
        yield
        assert not connections["default"].in_atomic_block, "the test left a transaction open"
        connections["default"].close()
        database["NAME"] = before


@pytest.fixture
def legacy_only(legacy_database: Any, at_own_database: None, settings: Any) -> Iterator[Any]:  # noqa: F811
    """The adapter of the reference legacy on PostgreSQL, while the legacy decides for everybody.

    It is one legacy for the whole session: the ids of its rows stand for operations in one ledger.
    """
    legacy_database("postgresql", prepare=install_reference)
    yield from decided_by_legacy(settings)


def decided_by_legacy(settings: Any) -> Iterator[Any]:
    """The adapter of the reference legacy that was pointed at; it decides for everybody."""
    from cutover import routes
    from legacy_bridge import configured

    settings.HAS_LEGACY = True
    settings.LEGACY_ADAPTER = "legacy_bridge.reference.ReferenceAdapter"
    configured.adapter.cache_clear()
    set_stage("LEGACY_ONLY")
    stop_capturing()
    yield configured.adapter()
    routes.forget_hints()
    configured.adapter.cache_clear()
