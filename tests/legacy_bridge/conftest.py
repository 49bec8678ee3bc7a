"""Databases for legacies, on real servers: PostgreSQL is the session's own, MariaDB the one that answers at
POINTS_CI_MARIADB_URL (default: root without a password at 127.0.0.1:3306).

A legacy is no database of Django's: it has no migrations, and what the procedures commit stays. Imports of
the product stay inside the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

VENDORS = ("postgresql", "mariadb")
MARIADB_URL = "mysql://root@127.0.0.1:3306/"

#: `legacy_database(vendor)`, or `legacy_database(vendor, prepare=function)`: the URL of a database.
LegacyDatabase = Callable[..., str]


#: Of the whole process: the fixture below is imported by other directories, and then is another one there.
_numbers = itertools.count(1)


class _Databases:
    """Makes databases, remembers those that were prepared for many tests, and drops all at the end."""

    def __init__(self) -> None:
        from pointsystem.embedded.testing import TestServers

        self._servers = TestServers(**json.loads(os.environ["POINTS_TEST_SERVERS"]))
        self._made: list[tuple[str, str]] = []
        self.prepared: dict[tuple[str, Any], str] = {}

    def make(self, vendor: str) -> str:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")
        name = f"points_test_legacy_{os.environ['POINTS_TEST_RUN']}{worker}_{next(_numbers)}"
        url = self._make_postgresql(name) if vendor == "postgresql" else _make_mariadb(name)
        self._made.append((vendor, url))
        return url

    def _make_postgresql(self, name: str) -> str:
        from pointsystem.embedded.testing import create_database

        url = urlunsplit(urlsplit(self._servers.owner_url)._replace(path=f"/{name}"))
        create_database(maker_url=self._servers.maker_url, url=url, owner_url=self._servers.owner_url)
        return url

    def drop_all(self) -> None:
        from pointsystem.embedded.testing import drop_database

        for vendor, url in self._made:
            if vendor == "postgresql":
                drop_database(maker_url=self._servers.maker_url, url=url)
            else:
                _mariadb(f"DROP DATABASE IF EXISTS {urlsplit(url).path.lstrip('/')}")


def _make_mariadb(name: str) -> str:
    # A binary collation, as the keys of two members may differ in case only.
    _mariadb(f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    return urlunsplit(urlsplit(_mariadb_url())._replace(path=f"/{name}"))


def _mariadb_url() -> str:
    return os.environ.get("POINTS_CI_MARIADB_URL") or MARIADB_URL


def _mariadb(statement: str) -> None:
    """Run one statement as the maker of databases. Skips the test where no server answers."""
    import pymysql

    url = urlsplit(_mariadb_url())
    try:
        connection = pymysql.connect(
            host=url.hostname or "127.0.0.1",
            port=url.port or 3306,
            user=url.username or "root",
            password=url.password or "",
            connect_timeout=3,
            autocommit=True,
        )
    except pymysql.err.OperationalError as error:
        pytest.skip(f"no MariaDB answers at {url.hostname}:{url.port} (POINTS_CI_MARIADB_URL): {error}")
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture(scope="session")
def _databases() -> Iterator[_Databases]:
    databases = _Databases()
    yield databases
    databases.drop_all()


@pytest.fixture
def legacy_database(_databases: _Databases, django_db_blocker: Any) -> Iterator[LegacyDatabase]:
    """`legacy_database(vendor)` makes an empty database (`postgresql` or `mariadb`), points the alias
    `legacy` at it for this test, and answers its URL.

    With `prepare=function` the database is made once in the session, given to `function()` while the alias
    points at it, and found by the later tests as the earlier ones left it.
    """
    from pointsystem.settings import legacy_database as configuration
    from tests.legacy_bridge.proxied import point_at

    def get(vendor: str, *, prepare: Callable[[], object] | None = None) -> str:
        key = (vendor, prepare)
        if prepare is None or key not in _databases.prepared:
            url = _databases.make(vendor)
            point_at(configuration(url))
            if prepare is not None:
                prepare()
                _databases.prepared[key] = url
        else:
            url = _databases.prepared[key]
            point_at(configuration(url))
        return url

    with django_db_blocker.unblock():
        yield get
        point_at(None)


@pytest.fixture
def legacy_postgres(legacy_database: LegacyDatabase) -> str:
    """The URL of an empty PostgreSQL database that the alias `legacy` points at."""
    return legacy_database("postgresql")


@pytest.fixture
def legacy_mariadb(legacy_database: LegacyDatabase) -> str:
    """The URL of an empty MariaDB database that the alias `legacy` points at."""
    return legacy_database("mariadb")


def install_reference() -> None:
    """The reference legacy, made once for all tests of a server; members are kept apart by their keys."""
    from legacy_bridge.reference.installing import install
    from legacy_bridge.sessions import session

    with session(timeout_seconds=60) as opened:
        install(opened)


@pytest.fixture(params=VENDORS)
def reference(legacy_database: LegacyDatabase, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The adapter of the reference legacy, on each server. Its clock runs again after each test."""
    from legacy_bridge.reference import ReferenceAdapter, clock
    from legacy_bridge.sessions import session

    legacy_database(request.param, prepare=install_reference)
    yield ReferenceAdapter()
    with session() as opened:
        clock.run(opened)
