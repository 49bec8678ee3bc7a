"""The fixtures that other tests of legacies stand on."""

from __future__ import annotations

import pytest

from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_legacy_database_is_empty_and_answers(legacy_database: LegacyDatabase, vendor: str) -> None:
    from legacy_bridge.sessions import session

    url = legacy_database(vendor)

    with session() as opened:
        assert opened.vendor == {"postgresql": "postgresql", "mariadb": "mysql"}[vendor]
        opened.query("CREATE TABLE seen (number INT)")
        assert opened.query("SELECT * FROM seen") == []
    assert legacy_database(vendor) != url
    with session() as opened:
        opened.query("CREATE TABLE seen (number INT)")


@pytest.mark.parametrize("turn", [1, 2])
def test_a_prepared_database_is_made_once(legacy_database: LegacyDatabase, turn: int) -> None:
    from legacy_bridge.sessions import session

    legacy_database("postgresql", prepare=_prepare)

    with session() as opened:
        opened.query("INSERT INTO turns VALUES (1)")
        assert opened.query("SELECT count(*) FROM turns") == [(turn,)]


def _prepare() -> None:
    from legacy_bridge.sessions import session

    with session() as opened:
        opened.query("CREATE TABLE turns (number INT)")


def test_no_alias_is_left_behind() -> None:
    from legacy_bridge.sessions import is_configured

    assert not is_configured()
