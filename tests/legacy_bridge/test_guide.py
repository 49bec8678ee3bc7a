"""The guide does what it says: its SQL installs, its examples answer so, its adapter works."""

from __future__ import annotations

import datetime as dt
import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from legacy_bridge import calling, giving, marker
from legacy_bridge.adapter import Feature, LegacyAdapter
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import NotDone, NotRepresentable, Refused, RefusedFact
from legacy_bridge.records import Applied, NotApplied, RowKind
from legacy_bridge.sessions import session
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.conftest import LegacyDatabase
from tests.legacy_bridge.proxied import behind_proxy
from tests.legacy_bridge.requests import cancel, earn, spend
from tests.tcp_proxy import Behaviour

GUIDE = (Path(__file__).resolve().parents[2] / "docs/how-to/wrap-your-own-procedures.md").read_text()
BLOCKS = re.findall(r"^```([^\n]*)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def blocks(kind: str) -> list[str]:
    found = [code for info, code in BLOCKS if info == kind]
    assert found, f"the guide has no {kind}"
    return found


def install(vendor: str) -> None:
    with session() as opened:
        marker.create(opened)
        for block in blocks(f"sql {vendor}"):
            run_text(opened, block)


def adapter() -> LegacyAdapter:
    (code,) = blocks("python adapter")
    names: dict[str, Any] = {"__name__": "my_points"}
    exec(compile(code, "wrap-your-own-procedures.md", "exec"), names)  # noqa: S102
    return names["Adapter"]()


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {info for info, _ in BLOCKS} == {
        "python adapter",
        "sh",
        *(f"{kind} {vendor}" for kind in ("sql", "pycon") for vendor in ("postgresql", "mariadb")),
        "sql look-postgresql",
        "sql look-mariadb",
    }


@pytest.mark.parametrize("vendor", ["postgresql", "mariadb"])
def test_the_examples_answer_as_the_guide_shows(legacy_database: LegacyDatabase, vendor: str) -> None:
    legacy_database(vendor)
    install(vendor)
    names = {name: getattr(calling, name) for name in dir(calling) if not name.startswith("_")}
    names |= {"RaisedError": RaisedError, "datetime": dt}
    said: list[str] = []
    runner = doctest.DocTestRunner()
    with session() as opened:
        for block in blocks(f"pycon {vendor}"):
            example = doctest.DocTestParser().get_doctest(
                block, {**names, "session": opened}, vendor, "wrap-your-own-procedures.md", 0
            )
            assert example.examples
            runner.run(example, out=said.append)

    assert said == []
    assert runner.failures == 0


@pytest.mark.parametrize("vendor", ["postgresql", "mariadb"])
def test_procedures_that_commit_are_found_as_the_guide_says(
    legacy_database: LegacyDatabase, vendor: str
) -> None:
    legacy_database(vendor)
    (look,) = blocks(f"sql look-{vendor}")
    with session() as opened:
        if vendor == "postgresql":
            opened.query("CREATE PROCEDURE tells() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$")
            opened.query("CREATE PROCEDURE quiet() LANGUAGE plpgsql AS $$ DECLARE commits int; BEGIN END $$")
            assert opened.query(look) == [("tells",)]
            return
        opened.query("CREATE PROCEDURE tells() BEGIN COMMIT; END")
        opened.query("CREATE PROCEDURE quiet() BEGIN DECLARE committed INT; END")
        opened.query("CREATE TABLE old (number INT) ENGINE = MyISAM")
        procedures, tables = look.split("\n//\n")
        assert opened.query(procedures) == [("tells",)]
        assert opened.query(tables) == [("old", "MyISAM")]


def test_the_adapter_of_the_guide_works(legacy_database: LegacyDatabase) -> None:
    legacy_database("postgresql")
    install("postgresql")
    made = adapter()
    with session() as opened:
        earned = giving.give(made, opened, earn("A1", 100))
        spent = giving.give(made, opened, spend("A1", 30, reference="ORDER-7"))
        back = giving.give(made, opened, cancel("A1", spent.row_id, 30))

        assert [earned.balance_after, spent.balance_after, back.balance_after] == [100, 70, 100]
        assert abs(dt.datetime.now(dt.UTC) - earned.recorded_at) < dt.timedelta(minutes=1)
        for request, fact in (
            (spend("A1", 101), RefusedFact.INSUFFICIENT_POINTS),
            (spend("never seen", 1), RefusedFact.INSUFFICIENT_POINTS),
            (cancel("A1", spent.row_id, 30), RefusedFact.NOT_CANCELLABLE),
        ):
            with pytest.raises(Refused) as refused:
                giving.give(made, opened, request)
            assert refused.value.fact is fact
        for request in (earn("A1", 1, reason="EVENT"), earn("x" * 21, 1)):
            with pytest.raises(NotRepresentable):
                giving.give(made, opened, request)
        rows = made.history(opened, account_number="A1", before_row_id=None, limit=9)
        assert [(row.kind, row.points, row.reference) for row in rows] == [
            (RowKind.SPEND_CANCEL, 30, None),
            (RowKind.SPEND, -30, "ORDER-7"),
            (RowKind.EARN, 100, None),
        ]
        assert rows[0].cancels_row_id == spent.row_id
        for account, points in (("A1", 100), ("never seen", 0)):
            now = dt.datetime.now(dt.UTC)
            balance = made.balance(opened, account_number=account, expiring_before=now)
            assert balance.available == points
    assert Feature.CANCEL_EARN not in made.features


@pytest.mark.parametrize(
    ("behaviour", "when"),
    [(Behaviour.CUT_BEFORE_ANSWER, b"CALL sp_points"), (Behaviour.CUT_BEFORE_ANSWER, b"COMMIT")],
)
def test_a_lost_answer_of_the_guides_adapter_is_settled(
    legacy_database: LegacyDatabase, behaviour: Behaviour, when: bytes
) -> None:
    url = legacy_database("postgresql")
    install("postgresql")
    made, request = adapter(), earn("A1", 100)
    with behind_proxy(url) as proxy:
        proxy.behave(behaviour, when=when, times=1)
        with session() as opened:
            old_session = opened.identity
            try:
                giving.give(made, opened, request)
            except NotDone:
                expected: type = NotApplied
            except Exception:
                expected = Applied
        with session() as opened:
            settled = giving.settle(made, opened, request, known_row_id=None, old_session=old_session)

    assert type(settled) is expected
    assert expected is (Applied if when == b"COMMIT" else NotApplied)
