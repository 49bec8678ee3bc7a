"""`manage.py legacy`: installing, and loading orders and generated history."""

from __future__ import annotations

from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase

ORDERS = Path(__file__).parents[3] / "pointsystem" / "demo" / "data" / "CDNOW_sample.txt"


def _run(*arguments: str) -> str:
    out = StringIO()
    call_command("legacy", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def _refused(*arguments: str) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        _run(*arguments)
    return caught.value.returncode, str(caught.value)


@pytest.fixture(params=VENDORS)
def empty(legacy_database: LegacyDatabase, request: pytest.FixtureRequest) -> str:
    return legacy_database(request.param)


def test_without_a_legacy_every_subcommand_says_what_to_do() -> None:
    for arguments in (("install",), ("marker",), ("load", "--accounts", "1", "--rows", "1")):
        code, words = _refused(*arguments)
        assert code == 2
        assert "LEGACY_DATABASE_URL" in words


def test_install_never_touches_one_that_is_there(empty: str) -> None:
    from legacy_bridge.reference import ReferenceAdapter
    from tests.legacy_bridge.reference.member import Member

    assert _refused("load", "--accounts", "1", "--rows", "1") == (2, "First: manage.py legacy install")
    _run("install")
    adapter = ReferenceAdapter()
    member = Member(adapter)
    member.earn(5)

    code, words = _refused("install")

    assert code == 2
    assert "--replace" in words
    assert member.available == 5
    _run("install", "--replace")
    assert member.available == 0
    assert member.earn(7).balance_after == 7


def test_marker_makes_only_the_table_of_markers(empty: str) -> None:
    from tests.legacy_bridge.reference.member import run_query

    assert _run("marker") == _run("marker") == "The table pointsystem_marker is there.\n"
    assert run_query("SELECT * FROM pointsystem_marker") == []
    assert _refused("load", "--accounts", "1", "--rows", "1")[0] == 2


def test_the_database_is_away(legacy_database: LegacyDatabase) -> None:
    from django.db import connections

    legacy_database("postgresql")
    connections.databases["legacy"]["PORT"] = 1
    assert _refused("install")[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--accounts", "1"),
        ("--rows", "5"),
        ("--orders", "no-such-file"),
        ("--orders", __file__),
        ("--orders", str(ORDERS), "--accounts", "1", "--rows", "1"),
    ],
)
def test_load_is_refused_without_sense(legacy_postgres: str, arguments: tuple[str, ...]) -> None:
    assert _refused("load", *arguments)[0] == 2


def test_real_orders_go_through_the_procedures_at_their_own_dates(empty: str) -> None:
    from legacy_bridge.reference import ReferenceAdapter
    from tests.legacy_bridge.reference.member import Member, run_query, seoul

    _run("install")
    out = _run("load", "--orders", str(ORDERS), "--limit", "300")

    assert out.startswith("300 orders in ")
    adapter = ReferenceAdapter()
    # The third order of customer 0001 is of 2 August 1997, and of 14.96 dollars.
    member = Member(adapter, "CD-0001")
    oldest = member.history()[-1]
    assert (oldest.points, oldest.reference, oldest.caller) == (293, "order-1", "ORDER")
    assert oldest.recorded_at.date() == seoul("1997-01-01 09:01").date()
    assert oldest.operation_id is None
    kinds = {kind for kind, _, _ in _stories(adapter)}
    assert kinds == {"earn", "spend", "earn_cancel", "spend_cancel", "expire"}
    schema = adapter.schema
    assert run_query(f"SELECT COUNT(*) FROM {schema}PT_CLOCK") == [(0,)]
    ((in_lots,),) = run_query(f"SELECT SUM(REMAIN_AMT) FROM {schema}PT_LOT")
    ((moved,),) = run_query(f"SELECT SUM(AMT) FROM {schema}PT_HIST")
    ((counted,),) = run_query(f"SELECT SUM(AMT) FROM {schema}PT_STAT_MONTH")
    assert in_lots == moved == counted


def _stories(adapter: Any) -> list[tuple[str, int, int | None]]:
    from legacy_bridge.sessions import session

    with session() as opened:
        rows = adapter.rows_after(opened, row_id=None, limit=10_000)
    return [(row.kind.value, row.points, row.balance_after) for row in rows]


def test_orders_can_be_moved_to_end_on_a_day() -> None:
    from legacy_bridge.reference.orders import read_orders

    own = read_orders(ORDERS)
    moved = read_orders(ORDERS, last_day=date(2026, 3, 1))

    assert (own[0].day, own[-1].day) == (date(1997, 1, 1), date(1998, 6, 30))
    assert moved[-1].day == date(2026, 3, 1)
    assert moved[-1].day - moved[0].day == own[-1].day - own[0].day
    assert len(own) == 6919


def test_generated_history_is_counted(empty: str) -> None:
    from tests.legacy_bridge.reference.member import run_query

    _run("install")
    out = _run("load", "--accounts", "30", "--rows", "300", "--seed", "3", "--flawed", "0.5")

    assert out.startswith("30 members, ")
    assert " 0 flawed" not in out
    schema = "legacy." if "postgres" in empty else ""
    assert run_query(f"SELECT COUNT(*) FROM {schema}PT_MBR") == [(30,)]
    assert _refused("load", "--accounts", "1", "--rows", "1", "--seed", "3")[0] == 2


def test_another_application_adds_a_subcommand() -> None:
    from legacy_bridge.reference import commands

    class Callers(commands.Subcommand):
        name = "callers"
        help = "Who calls procedures directly."
        needs_legacy = False

        def add_arguments(self, parser: Any) -> None:
            parser.add_argument("--json", action="store_true")

        def handle(self, command: Any, options: dict[str, Any]) -> None:
            command.stdout.write(f"json: {options['json']}")

    before = commands._registered.copy()
    commands.register(Callers())
    try:
        assert _run("callers", "--json") == "json: True\n"
    finally:
        commands._registered.clear()
        commands._registered.update(before)
