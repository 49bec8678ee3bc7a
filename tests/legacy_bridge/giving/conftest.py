"""A legacy for each way of settling."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.giving.cases import LEGACIES, TIMEOUT, Case
from tests.legacy_bridge.proxied import Beside, behind_proxy


def _case(legacy_database: LegacyDatabase, name: str) -> Iterator[Case]:
    vendor, install, adapter, call = LEGACIES[name]
    url = legacy_database(vendor, prepare=install)
    with behind_proxy(url, timeout_seconds=TIMEOUT) as proxy:
        beside = Beside(url)
        yield Case(adapter(), proxy, beside, call)
        beside.close()


@pytest.fixture(params=LEGACIES)
def case(request: pytest.FixtureRequest, legacy_database: LegacyDatabase) -> Iterator[Case]:
    yield from _case(legacy_database, request.param)


@pytest.fixture
def new_row(legacy_database: LegacyDatabase) -> Iterator[Case]:
    yield from _case(legacy_database, "by new row")
