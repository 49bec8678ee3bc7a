"""A file of grants is read as a whole, or every line says what is wrong with it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pointsystem.backoffice.support import grant_files
from pointsystem.backoffice.support.grant_files import FileRefused, read
from tests.ledger.member import NOON

HEADING = "account_number,points,reason,reference,expires_at\n"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon(db: None, settings: Any) -> None:
    from ledger import clock

    settings.POINTS_CLOCK = "simulated"
    clock.set_simulated(instant=NOON)


def errors_of(content: str | bytes) -> list[tuple[int, str, str]]:
    with pytest.raises(FileRefused) as refused:
        read(content=content.encode() if isinstance(content, str) else content)
    return [(error.line, error.field, error.code) for error in refused.value.errors]


def test_rows_are_read_with_their_lines_and_totals() -> None:
    found = read(content=(HEADING + "m-1,100,EVENT,e-1,\n\nm-2,50,EVENT,,never\n").encode())

    assert [(row.line, row.account_number, row.points, row.reference) for row in found.rows] == [
        (2, "m-1", 100, "e-1"),
        (4, "m-2", 50, None),
    ]
    assert [(row.has_expiry, row.expires_at) for row in found.rows] == [(False, None), (True, None)]
    assert (found.points, found.accounts) == (150, 2)


def test_columns_may_come_in_any_order_and_be_left_out() -> None:
    (row,) = read(content=b"Reason , points,account_number\nEVENT,5,m-1\n").rows

    assert (row.account_number, row.points, row.reason, row.reference) == ("m-1", 5, "EVENT", None)


def test_a_day_ends_in_the_programmes_zone_and_an_instant_is_itself() -> None:
    rows = read(
        content=(HEADING + "m-1,1,EVENT,,2026-12-31\nm-2,1,EVENT,,2026-12-31T12:00:00+09:00\n").encode()
    ).rows

    assert [row.expires_at for row in rows] == [
        datetime(2026, 12, 31, 15, tzinfo=UTC),
        datetime(2026, 12, 31, 3, tzinfo=UTC),
    ]


def test_the_same_rows_in_another_spelling_are_the_same_file() -> None:
    plain = HEADING + "m-1,100,EVENT,e-1,\n"

    digests = {
        read(content=content).digest
        for content in (
            plain.encode(),
            b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode(),
            plain.replace("m-1,100", '"m-1", 100 ').encode(),
        )
    }

    assert len(digests) == 1
    assert read(content=plain.replace("100", "101").encode()).digest not in digests


@pytest.mark.parametrize(
    ("line", "errors"),
    [
        ("m 1,1,EVENT,,", [("account_number", "bad_format")]),
        (",1,EVENT,,", [("account_number", "bad_format")]),
        ("m-1,0,EVENT,,", [("points", "out_of_range")]),
        ("m-1,-5,EVENT,,", [("points", "out_of_range")]),
        ('m-1,"1,000",EVENT,,', [("points", "out_of_range")]),
        ("m-1,1.5,EVENT,,", [("points", "out_of_range")]),
        ("m-1,1000000001,EVENT,,", [("points", "out_of_range")]),
        ("m-1,٣,EVENT,,", [("points", "out_of_range")]),
        ("m-1,1,NONE,,", [("reason", "unknown_reason")]),
        ("m-1,1,GIFT,,", [("reason", "reason_not_allowed")]),
        ("m-1,1,EVENT,two words,", [("reference", "bad_format")]),
        ("m-1,1,EVENT,,soon", [("expires_at", "bad_format")]),
        ("m-1,1,EVENT,,2026-02-30", [("expires_at", "bad_format")]),
        ("m-1,1,EVENT,,9999-12-31", [("expires_at", "bad_format")]),
        ("m-1,1,EVENT,,2026-02-27", [("expires_at", "in_the_past")]),
        ("m-1,1,EVENT,,2099-01-01", [("expires_at", "too_far_ahead")]),
        (
            "x y,0,NONE,,",
            [("account_number", "bad_format"), ("points", "out_of_range"), ("reason", "unknown_reason")],
        ),
    ],
)
def test_a_line_says_what_is_wrong_with_it(line: str, errors: list[tuple[str, str]]) -> None:
    assert errors_of(HEADING + "m-9,1,EVENT,,\n" + line + "\n") == [(3, *error) for error in errors]


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        ("", [(1, "", "missing_columns")]),
        ("account_number,points\nm-1,1\n", [(1, "", "missing_columns")]),
        ("account_number,points,reason,colour\n", [(1, "", "unknown_columns")]),
        ("account_number,points,reason,points\n", [(1, "", "unknown_columns")]),
        (HEADING, [(0, "", "empty")]),
        (HEADING + "m-1,1,EVENT,,,,\n", [(2, "", "too_many_cells")]),
        (HEADING + 'm-1,1,"EVENT\n', [(2, "", "not_csv")]),
        (b"\xff\xfe\x00m", [(0, "", "not_utf8")]),
        (HEADING + "m-1,1,EV\x00ENT,,\n", [(0, "", "not_text")]),
        (b"x" * (grant_files.MOST_BYTES + 1), [(0, "", "too_large")]),
    ],
)
def test_a_file_that_is_none_is_refused(content: str | bytes, errors: list[tuple[int, str, str]]) -> None:
    assert errors_of(content) == errors


def test_the_same_grant_twice_in_one_file_is_a_mistake() -> None:
    rows = "m-1,100,EVENT,e-1,\nm-2,100,EVENT,e-1,\nm-1,100,EVENT,e-1,\nm-1,100,EVENT,e-2,\n"

    assert errors_of(HEADING + rows) == [(4, "", "duplicate")]


def test_too_many_rows_are_refused() -> None:
    rows = "".join(f"m-{number},1,EVENT,,\n" for number in range(grant_files.MOST_ROWS + 1))

    assert errors_of(HEADING + rows) == [(0, "", "too_many_rows")]


def test_no_more_errors_are_listed_than_anybody_reads() -> None:
    assert len(errors_of(HEADING + "m-1,0,EVENT,,\n" * 1000)) == grant_files.MOST_ERRORS
