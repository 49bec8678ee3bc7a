"""The pages and files of finance: what they show, what they say, and whose figures they are."""

import csv
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger import clock, door
from ledger.commands import Earn
from pointsystem.backoffice.finance import months
from pointsystem.backoffice.finance.models import MonthSum
from tests.backoffice.support.people import make_person, signed_in, text_of
from tests.cutover.conftest import (  # noqa: F401
    _databases,
    at_own_database,
    legacy_database,
    legacy_only,
    own_database,
    set_stage,
)
from tests.factories import ClientFactory, account_number, idempotency_key
from tests.ledger.member import Member, days_later

FINANCE = "/admin/finance/"
OWED = "/admin/finance/liability/"


@pytest.fixture
def browser(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person("finance"))


def shown(browser: Browser, address: str, status: int = 200) -> str:
    answer = browser.get(address)
    assert answer.status_code == status
    return text_of(answer)  # type: ignore[arg-type]


def table(browser: Browser, address: str) -> list[dict[str, str]]:
    answer = browser.get(address)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]
    lines = b"".join(answer.streaming_content).decode().splitlines()  # type: ignore[attr-defined]
    return list(csv.DictReader(lines))


def test_an_empty_ledger_says_so(browser: Browser, noon: Any) -> None:
    assert "No points were ever moved" in shown(browser, FINANCE)
    assert "nothing is owed" in shown(browser, OWED)
    assert table(browser, reverse("admin:finance_roll_forward_file")) == []


def test_the_months_and_their_check_are_shown(browser: Browser, member: Member) -> None:
    member.earns(1_500)
    days_later(31)
    member.spends(300)

    page = shown(browser, FINANCE)

    assert "It ties: the last closing is 1,200, the open lots hold as much" in page
    assert "2026-04 not over 1,500 0 −300 1,200" in page
    assert "2026-03 0 +1,500 0 1,500" in page
    assert "copy" not in page


def test_a_month_is_shown_by_reason(browser: Browser, member: Member) -> None:
    member.earns(1_500)
    member.earns(20, reason="REVIEW")

    page = shown(browser, "/admin/finance/months/2026-03/")

    assert "This month is not over" in page
    assert "It ties: up to now it closes with 1,520" in page
    assert "REVIEW 0 +20 20 20 agrees" in page
    assert "In sum 0 +1,520 1,520 1,520 agrees" in page
    days_later(31)
    later = shown(browser, "/admin/finance/months/2026-03/")
    assert "not over" not in later
    assert "so much remained in the lots when the month ended" in later


def test_what_does_not_tie_is_said_on_every_page(browser: Browser, member: Member) -> None:
    member.earns(10)
    months.bring_forward(margin=timedelta(0))
    MonthSum.objects.update(points=12)

    assert "It does not tie: the last closing is 12, the open lots hold 10" in shown(browser, FINANCE)
    assert "It does not tie: the closing is 12, and 10 remained" in shown(
        browser, "/admin/finance/months/2026-03/"
    )
    assert "says 12" in shown(browser, OWED)


def test_the_files_say_what_the_pages_say(browser: Browser, member: Member) -> None:
    member.earns(100)
    days_later(31)
    member.earns(20, reason="REVIEW")
    member.spends(30)

    rows = table(browser, "/admin/finance/roll-forward.csv")
    one = table(browser, "/admin/finance/roll-forward.csv?month=2026-03")

    assert [(row["month"], row["reason"], row["earn"], row["spend"], row["closing"]) for row in rows] == [
        ("2026-03", "", "100", "0", "100"),
        ("2026-03", "ORDER_REWARD", "100", "0", "100"),
        ("2026-04", "", "20", "-30", "90"),
        ("2026-04", "ORDER_REWARD", "0", "-30", "70"),
        ("2026-04", "REVIEW", "20", "0", "20"),
    ]
    assert one == rows[:2]
    assert [
        (row["months_since_earned"], row["lots"], row["points"])
        for row in table(browser, "/admin/finance/liability/by-age.csv")
    ] == [("0", "1", "20"), ("1", "1", "70"), ("lapsed", "0", "0")]
    assert [
        (row["expires_in"], row["points"]) for row in table(browser, "/admin/finance/liability/by-expiry.csv")
    ] == [("2027-03", "70"), ("2027-04", "20"), ("lapsed", "0")]
    assert [
        row["points"] for row in table(browser, "/admin/finance/liability/by-age.csv?day=2026-03-31")
    ] == ["100", "0"]


def test_a_day_can_be_asked_for(browser: Browser, member: Member) -> None:
    member.earns(100)
    days_later(3)
    member.spends(40)

    assert "It ties: 100 points were left in lots at 2026-03-03 00:00" in shown(
        browser, f"{OWED}?day=2026-03-02"
    )
    assert "It ties: 60 points" in shown(browser, OWED)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/admin/finance/months/2026-13/", 404),
        ("/admin/finance/months/2031-01/", 404),
        ("/admin/finance/months/0/", 404),
        ("/admin/finance/roll-forward.csv?month=x", 404),
        ("/admin/finance/liability/?day=x", 400),
        ("/admin/finance/liability/?day=9999-12-31", 400),
        ("/admin/finance/liability/?day=0001-01-01", 400),
        ("/admin/finance/liability/by-age.csv?day=x", 404),
        ("/admin/finance/liability/by-colour.csv", 404),
    ],
)
def test_wrong_months_and_days_are_refused(address: str, status: int, browser: Browser, noon: Any) -> None:
    assert browser.get(address).status_code == status


def test_pages_are_only_read(browser: Browser, noon: Any) -> None:
    for address in (FINANCE, OWED, "/admin/finance/months/2026-03/", "/admin/finance/roll-forward.csv"):
        assert browser.post(address).status_code == 405


class TestWhileALegacyDecides:
    @pytest.fixture
    def by_legacy(self, legacy_only: Any, settings: Any) -> Iterator[Any]:  # noqa: F811
        settings.POINTS_FACE = "cutover.face"
        settings.HAS_LEGACY = True
        door.face.cache_clear()
        yield legacy_only
        door.face.cache_clear()

    def test_the_figures_are_said_to_be_a_copy(self, by_legacy: Any) -> None:
        page = shown(signed_in(make_person("auditor")), FINANCE)

        assert "These are the figures of a copy. The legacy decides, and nobody follows." in page
        assert "The ledger holds what the last migration brought." in page
        assert "The monthly totals of both sides are in the control room." in page

    def test_how_far_behind_a_follower_is_is_said(self, by_legacy: Any) -> None:
        browser = signed_in(make_person("finance"))
        set_stage("LEGACY_FIRST")
        assert "Nothing is on its way" in shown(browser, FINANCE)

        door.face().execute(
            Earn(
                client_id=ClientFactory().id,
                account_number=account_number(),
                points=10,
                reason="ORDER_REWARD",
                idempotency_key=idempotency_key(),
            )
        )

        page = shown(browser, FINANCE)
        assert "The legacy decides, and the ledger follows." in page
        assert "1 operation is on its way and not in these figures; it is" in page

    def test_nothing_is_said_once_the_ledger_decides(self, by_legacy: Any) -> None:
        set_stage("NEW_FIRST")

        assert "copy" not in shown(signed_in(make_person("finance")), FINANCE)


def test_the_clock_is_the_programmes(browser: Browser, member: Member) -> None:
    member.earns(10)

    assert clock.now().isoformat() == "2026-03-01T03:00:00+00:00"
    assert "at 2026-03-01 12:00" in shown(browser, OWED)
