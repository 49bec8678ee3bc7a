"""Every way in which procedures are called and answer, on both servers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from typing import Any

import pytest

from legacy_bridge.calling import (
    InOut,
    Out,
    Typed,
    call_cursors,
    call_function,
    call_procedure,
    call_result_sets,
    key,
    moment,
    not_negative,
    one,
    select_function,
    text,
    whole,
)
from legacy_bridge.dialects import RaisedError
from legacy_bridge.errors import AnswerInvalid, NotRepresentable
from legacy_bridge.sessions import Session, session
from tests.legacy_bridge.adapters.scripts import run_text
from tests.legacy_bridge.conftest import VENDORS, LegacyDatabase

#: As legacies keep time: without a zone.
LOCAL = datetime(2026, 3, 4, 5, 6, 7)  # noqa: DTZ001

POSTGRESQL = """
CREATE SCHEMA points
//
CREATE FUNCTION points.balance(p_member text) RETURNS bigint LANGUAGE sql
    AS $$ SELECT length(p_member)::bigint $$
//
CREATE FUNCTION points.twice(p_points smallint) RETURNS int LANGUAGE sql AS $$ SELECT p_points * 2 $$
//
CREATE FUNCTION points.receipt(p_points int, OUT receipt_no int, OUT member char(8), OUT at timestamp)
    LANGUAGE sql AS $$ SELECT p_points, 'A1'::char(8), timestamp '2026-03-04 05:06:07' $$
//
CREATE FUNCTION points.lots(p_count int) RETURNS TABLE (lot_no int, points int) LANGUAGE sql AS $$
    SELECT number, number * 10 FROM generate_series(1, p_count) AS number $$
//
CREATE FUNCTION points.statement(p_count int) RETURNS SETOF refcursor LANGUAGE plpgsql AS $$
DECLARE
    lots refcursor := 'lots "of" all';
    sums refcursor;
BEGIN
    OPEN lots FOR SELECT * FROM points.lots(p_count);
    RETURN NEXT lots;
    OPEN sums FOR SELECT sum(points) FROM points.lots(p_count);
    RETURN NEXT sums;
END $$
//
CREATE PROCEDURE points.add(IN a int, INOUT b int, OUT message text) LANGUAGE plpgsql AS $$
BEGIN
    b := a + b;
    message := CASE WHEN a > 0 THEN 'SUCCESS' ELSE 'ERROR: nothing to add' END;
END $$
//
CREATE PROCEDURE points.nothing(IN a int) LANGUAGE plpgsql AS $$ BEGIN END $$
//
CREATE TABLE points.kept (number int CONSTRAINT kept_is_positive CHECK (number > 0))
//
CREATE PROCEDURE points.fail(IN how int) LANGUAGE plpgsql AS $$
BEGIN
    IF how = 0 THEN RAISE EXCEPTION 'plain' USING DETAIL = 'CODE-17'; END IF;
    IF how = 1 THEN RAISE EXCEPTION 'coded' USING ERRCODE = 'XY123'; END IF;
    INSERT INTO points.kept VALUES (0);
END $$
"""
MARIADB = """
CREATE FUNCTION balance(p_member VARCHAR(40)) RETURNS BIGINT DETERMINISTIC RETURN LENGTH(p_member)
//
CREATE PROCEDURE addition(IN a INT, INOUT b INT, OUT message VARCHAR(40), OUT at DATETIME,
    OUT rate DECIMAL(9,2))
BEGIN
    SET b = a + b;
    SET message = IF(a > 0, 'SUCCESS', 'ERROR: nothing to add');
    SET at = '2026-03-04 05:06:07', rate = 12.50;
END
//
CREATE PROCEDURE forgets(OUT answer INT) BEGIN END
//
CREATE PROCEDURE nothing(IN a INT) BEGIN END
//
CREATE PROCEDURE statement(IN p_count INT)
BEGIN
    SELECT p_count, 'sum';
    SELECT seq, seq * 10 FROM seq_1_to_3 WHERE seq <= p_count;
    SELECT 1 WHERE FALSE;
END
//
CREATE PROCEDURE both_ways(OUT code INT)
BEGIN
    SELECT 'a row';
    SET code = 7;
END
//
CREATE TABLE kept (number INT, CONSTRAINT kept_is_positive CHECK (number > 0)) ENGINE = InnoDB
//
CREATE PROCEDURE fail(IN how INT)
BEGIN
    IF how = 0 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'plain'; END IF;
    IF how = 1 THEN SIGNAL SQLSTATE '45017' SET MYSQL_ERRNO = 31001, MESSAGE_TEXT = 'coded'; END IF;
    IF how = 2 THEN SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 60001, MESSAGE_TEXT = 'high'; END IF;
    INSERT INTO kept VALUES (0);
END
"""


def _prepare_postgresql() -> None:
    with session() as opened:
        run_text(opened, POSTGRESQL)


def _prepare_mariadb() -> None:
    with session() as opened:
        run_text(opened, MARIADB)


@pytest.fixture
def postgresql(legacy_database: LegacyDatabase) -> Iterator[Session]:
    legacy_database("postgresql", prepare=_prepare_postgresql)
    with session() as opened:
        yield opened


@pytest.fixture
def mariadb(legacy_database: LegacyDatabase) -> Iterator[Session]:
    legacy_database("mariadb", prepare=_prepare_mariadb)
    with session() as opened:
        yield opened


@pytest.fixture(params=VENDORS)
def opened(request: pytest.FixtureRequest) -> Session:
    return request.getfixturevalue(request.param)


def name_of(opened: Session, name: str) -> str:
    return f"points.{name}" if opened.vendor == "postgresql" else name


# --- functions ------------------------------------------------------------------------------------------
def test_a_function_answers_with_one_value(opened: Session) -> None:
    assert call_function(opened, name_of(opened, "balance"), ["A%s'1"]) == 5


def test_a_type_is_given_where_the_server_chooses_by_types(postgresql: Session) -> None:
    with pytest.raises(RaisedError) as raised:
        call_function(postgresql, "points.twice", [21])

    assert raised.value.sqlstate == "42883"
    assert call_function(postgresql, "points.twice", [Typed(21, "smallint")]) == 42


def test_a_composite_result_is_one_row(postgresql: Session) -> None:
    row = one(select_function(postgresql, "points.receipt", [3]))

    assert row == (3, "A1      ", LOCAL)
    assert text(row[1]) == "A1"


def test_a_table_function_answers_with_rows(postgresql: Session) -> None:
    assert select_function(postgresql, "points.lots", [2]) == [(1, 10), (2, 20)]


@pytest.mark.parametrize("is_within", [True, False], ids=["in a transaction", "by itself"])
def test_cursors_are_read_as_several_result_sets(postgresql: Session, is_within: bool) -> None:
    if is_within:
        with postgresql.transaction():
            sets = call_cursors(postgresql, "points.statement", [2])
    else:
        sets = call_cursors(postgresql, "points.statement", [2])

    assert sets == [[(1, 10), (2, 20)], [(30,)]]


# --- procedures -----------------------------------------------------------------------------------------
def test_out_and_inout_arguments_come_back_in_their_order(mariadb: Session) -> None:
    assert call_procedure(mariadb, "addition", [2, InOut(40), Out(), Out(), Out()]) == (
        42,
        "SUCCESS",
        "2026-03-04 05:06:07",
        Number("12.50"),
    )


def test_out_and_inout_arguments_of_postgresql(postgresql: Session) -> None:
    assert call_procedure(postgresql, "points.add", [2, InOut(40), Out()]) == (42, "SUCCESS")
    assert call_procedure(postgresql, "points.add", [0, InOut(40, "int"), Out("text")]) == (
        40,
        "ERROR: nothing to add",
    )


def test_a_procedure_without_out_arguments_answers_nothing(opened: Session) -> None:
    assert call_procedure(opened, name_of(opened, "nothing"), [1]) == ()


def test_what_an_earlier_call_left_is_not_taken_for_an_answer(mariadb: Session) -> None:
    assert call_procedure(mariadb, "both_ways", [Out()]) == (7,)

    assert call_procedure(mariadb, "forgets", [Out()]) == (None,)


def test_several_result_sets_are_read_whole(mariadb: Session) -> None:
    assert call_result_sets(mariadb, "statement", [2]) == [[(2, "sum")], [(1, 10), (2, 20)], []]
    # Nothing of them is left in the way of the next call.
    assert call_function(mariadb, "balance", ["A"]) == 1


def test_a_name_is_never_more_than_a_name(opened: Session) -> None:
    for name in ("balance('x'); DROP TABLE kept; --", "a b", "", "a.b.c.d"):
        with pytest.raises(ValueError, match="no name"):
            call_procedure(opened, name, [1])
    with pytest.raises(ValueError, match="no name"):
        call_function(opened, name_of(opened, "balance"), [Typed("x", "text) --")])


# --- errors ---------------------------------------------------------------------------------------------
def raised_by(opened: Session, how: int) -> RaisedError:
    with pytest.raises(RaisedError) as raised:
        call_procedure(opened, name_of(opened, "fail"), [how])
    return raised.value


def test_what_postgresql_raises_is_told_apart(postgresql: Session) -> None:
    plain, coded, broken = (raised_by(postgresql, how) for how in (0, 1, 2))

    assert (plain.sqlstate, plain.message, plain.detail) == ("P0001", "plain", "CODE-17")
    assert (coded.sqlstate, coded.message) == ("XY123", "coded")
    assert (broken.sqlstate, broken.constraint) == ("23514", "kept_is_positive")


def test_what_mariadb_signals_is_told_apart(mariadb: Session) -> None:
    plain, coded, high, broken = (raised_by(mariadb, how) for how in (0, 1, 2, 3))

    assert (plain.number, plain.sqlstate, plain.message) == (1644, "45000", "plain")
    assert (coded.number, coded.sqlstate, coded.message) == (31001, "45017", "coded")
    assert (high.number, high.message) == (60001, "high")
    assert broken.number == 4025
    assert "kept_is_positive" in broken.message


# --- what is passed and read ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "number"), [(5, 5), ("12", 12), (" 7 ", 7), (Number("3.00"), 3), (4.0, 4), (-1, -1)]
)
def test_whole_numbers_come_in_many_types(value: Any, number: int) -> None:
    assert whole(value) == number


@pytest.mark.parametrize(
    "value", [None, True, "", "12.5", "many", Number("1.5"), 1.5, float("nan"), b"1", []]
)
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(AnswerInvalid):
        whole(value)


def test_a_balance_is_not_negative_a_row_is_one_and_text_is_text() -> None:
    assert text("A1   ") == "A1"
    for wrong in (
        lambda: not_negative(-1),
        lambda: one([]),
        lambda: one([(1,), (2,)]),
        lambda: text(None),
        lambda: text(5),
    ):
        with pytest.raises(AnswerInvalid):
            wrong()


def test_a_local_moment_comes_as_one_or_as_text() -> None:
    assert moment("2026-03-04 05:06:07") == moment(LOCAL)
    for wrong in (None, "0000-00-00 00:00:00", 5, "2026-03-04 05:06:07+09:00"):
        with pytest.raises(AnswerInvalid):
            moment(wrong)


def test_local_time_is_the_legacys_own_on_postgresql(postgresql: Session) -> None:
    row = one(
        postgresql.query(
            "SELECT current_setting('TimeZone'), now() - LOCALTIMESTAMP AT TIME ZONE 'Asia/Seoul'"
        )
    )

    assert row == ("Asia/Seoul", timedelta(0))


def test_a_moment_with_a_zone_comes_in_utc_on_postgresql(postgresql: Session) -> None:
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)

    row = one(postgresql.query("SELECT %s, '2026-03-04 05:06:07Z'::timestamptz", [at]))

    assert row == (at, at)
    assert [moment.tzinfo for moment in row] == [UTC, UTC]


def test_a_key_fits_or_is_not_representable() -> None:
    assert key("A1", length=2) == "A1"
    for wrong in ("A12", "A ", "AB "):
        with pytest.raises(NotRepresentable):
            key(wrong, length=2)


# --- SQL Server: nobody has run it; these are the batches that would be sent --------------------------------
class Recorded:
    """Stands where a session of SQL Server would: it keeps what is sent."""

    vendor = "microsoft"

    def __init__(self, *sets: list[tuple[Any, ...]]) -> None:
        self.sets = list(sets)
        self.sent: list[tuple[str, list[Any]]] = []

    def query_sets(self, statement: str, parameters: list[Any]) -> list[list[tuple[Any, ...]]]:
        self.sent.append((statement, list(parameters)))
        return self.sets


def test_sql_server_is_sent_one_batch_for_output_arguments() -> None:
    recorded = Recorded([(42, "SUCCESS")])

    answer = call_procedure(recorded, "dbo.add", [2, InOut(40, "int"), Out("nvarchar(40)"), "x"])

    assert answer == (42, "SUCCESS")
    batch = (
        "SET NOCOUNT ON; DECLARE @pointsystem_1 int = %s; DECLARE @pointsystem_2 nvarchar(40);"
        " EXEC dbo.add %s, @pointsystem_1 OUTPUT, @pointsystem_2 OUTPUT, %s;"
        " SELECT @pointsystem_1, @pointsystem_2"
    )
    assert recorded.sent == [(batch, [40, 2, "x"])]


def test_sql_server_answers_with_result_sets() -> None:
    recorded = Recorded([(1,)], [(2,)])

    assert call_result_sets(recorded, "dbo.statement", ["A1", 2]) == [[(1,)], [(2,)]]

    assert recorded.sent == [("SET NOCOUNT ON; EXEC dbo.statement %s, %s", ["A1", 2])]
