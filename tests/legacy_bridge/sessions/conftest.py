"""A counting legacy on each server, a proxy before it, and a connection beside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase
from tests.legacy_bridge.proxied import (
    Beside,
    behind_proxy,
)
from tests.legacy_bridge.sessions.counter import (
    TIMEOUT,
    prepare_mariadb,
    prepare_postgresql,
)
from tests.tcp_proxy import TcpProxy


@pytest.fixture(params=VENDORS)
def url(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> str:
    prepare = prepare_postgresql if request.param == "postgresql" else prepare_mariadb
    return legacy_database(request.param, prepare=prepare)


@pytest.fixture
def proxy(url: str) -> Iterator[TcpProxy]:
    with behind_proxy(url, timeout_seconds=TIMEOUT) as proxy:
        yield proxy


@pytest.fixture
def beside(url: str) -> Iterator[Beside]:
    beside = Beside(url)
    yield beside
    beside.close()
