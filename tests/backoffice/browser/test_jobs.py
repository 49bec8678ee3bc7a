"""What each role comes for, from the login to the end, in a real browser."""

import csv
import time
from collections.abc import Callable

import pytest
from django_otp.oath import TOTP

from tests.backoffice.browser.conftest import House, Visit, signs_in
from tests.backoffice.browser.seeding import MINJI, OTHER, PASSWORD, PEOPLE, QUIET, SECRET

Visits = Callable[..., Visit]
_ROUTE = "FROM cutover_route WHERE cohort = 'default'"
_ENTRIES = "SELECT count(*) FROM ledger_entry AS entry JOIN ledger_account AS account"
_ENTRIES += " ON account.id = entry.account_id WHERE account.account_number = %s AND entry.kind = %s"


def fills_in(visit: Visit, *, points: int, reason: str | None = None, note: str = "a broken parcel") -> None:
    visit.page.fill("#id_points", str(points))
    if reason:
        visit.page.select_option("#id_reason", reason)
    visit.page.fill("#id_note", note)


class TestSupport:
    def test_finds_an_account_and_grants_points_once_however_often_they_click(
        self, visit: Visits, house: House
    ) -> None:
        sora = visit("sora")
        sora.page.fill("input[name=q]", MINJI)
        sora.presses("Find")
        assert f"Account {MINJI}" in sora.page.inner_text("h1")
        sora.is_drawn_as("support-account")
        before = house.ask(_ENTRIES, MINJI, "earn")

        sora.follows("Grant")
        fills_in(sora, points=300, reason="COMPENSATION")
        sora.presses("Look at what it would do")
        assert "This would happen" in sora.words
        sora.is_drawn_as("support-preview")
        assert house.ask(_ENTRIES, MINJI, "earn") == before

        confirm = sora.page.get_by_role("button", name="Confirm")
        confirm.dblclick()
        sora.page.wait_for_url("**/support/operations/**")

        assert house.ask(_ENTRIES, MINJI, "earn") == before + 1
        assert "300" in sora.words

    def test_going_back_and_confirming_again_grants_nothing_more(self, visit: Visits, house: House) -> None:
        sora = visit("sora")
        sora.goes_to(f"/admin/support/accounts/{QUIET}/grant/")
        fills_in(sora, points=10, reason="COMPENSATION")
        sora.presses("Look at what it would do")
        sent = dict(
            sora.page.locator("#content form[method=post] input[type=hidden]").evaluate_all(
                "fields => fields.map(field => [field.name, field.value])"
            )
        )
        sora.presses("Confirm")
        sora.page.wait_for_url("**/support/operations/**")
        once = house.ask(_ENTRIES, QUIET, "earn")

        again = sora.page.context.request.post(
            f"{house.url}/admin/support/accounts/{QUIET}/grant/", form={**sent, "step": "confirm"}
        )

        assert again.ok
        assert "This was done before, and not again." in again.text()
        assert house.ask(_ENTRIES, QUIET, "earn") == once

    def test_cancels_a_part_of_a_spend(self, visit: Visits, house: House) -> None:
        spent = house.ask(
            "SELECT id FROM ledger_operation WHERE account_number = %s AND reference = 'order-90017'"
            " AND kind = 'spend'",
            MINJI,
        )
        sora = visit("sora")
        sora.goes_to(f"/admin/support/operations/{spent}/")
        sora.page.locator("a[href$='/cancel/']").click()
        assert "1,500 points of it can still be cancelled." in sora.words
        fills_in(sora, points=500, reason="ORDER_CANCELLED")
        sora.presses("Look at what it would do")
        sora.presses("Confirm")
        sora.page.wait_for_url("**/support/operations/**")

        cancelled = house.ask(
            "SELECT sum(points)::int FROM ledger_operation WHERE cancels_id = %s AND state = 'completed'",
            spent,
        )
        assert cancelled == 900 + 500

    def test_asks_for_what_is_above_the_limit_and_somebody_else_approves(
        self, visit: Visits, house: House
    ) -> None:
        before = house.ask(_ENTRIES, QUIET, "earn")
        sora = visit("sora")
        sora.goes_to(f"/admin/support/accounts/{QUIET}/grant/")
        fills_in(sora, points=9_000, reason="COMPENSATION", note="a lost voucher")
        sora.presses("Look at what it would do")
        assert "a second person has to approve it" in sora.words
        sora.presses("Confirm")
        sora.page.wait_for_url("**/support/requests/**")
        assert "You asked for this: somebody else has to decide." in sora.words
        assert sora.page.get_by_role("button", name="Approve").count() == 0
        assert house.ask(_ENTRIES, QUIET, "earn") == before

        leo = visit("leo")
        leo.goes_to("/admin/support/requests/")
        asked = sora.page.url.partition("/admin/")[2]
        leo.page.locator(f"table.data a[href='/admin/{asked}']").click()
        leo.page.wait_for_url("**/support/requests/*/")
        assert "What approving would do now" in leo.words
        leo.page.fill("#id_note", "seen the voucher")
        leo.presses("Approve")
        leo.page.wait_for_load_state()

        assert house.ask(_ENTRIES, QUIET, "earn") == before + 1
        assert "9,000" in leo.words


class TestOperator:
    def test_freezes_thaws_and_goes_one_stage_back(self, visit: Visits, house: House) -> None:
        omar = visit("omar")
        omar.goes_to("/admin/control-room/")
        assert "NEW_ONLY" in omar.words
        omar.is_drawn_as("control-room")

        self._does(omar, "Freeze", "a window for the maintenance")
        assert "frozen" in omar.words
        assert house.ask(f"SELECT freeze_until > clock_timestamp() {_ROUTE}")
        self._does(omar, "Thaw", "all is well")
        assert not house.ask(f"SELECT coalesce(freeze_until > clock_timestamp(), false) {_ROUTE}")

        self._does(omar, "One stage back", "services still call procedures")
        assert house.ask(f"SELECT stage {_ROUTE}") == "NEW_FIRST"

    def test_who_may_only_look_finds_no_open_button(self, visit: Visits) -> None:
        audra = visit("audra")
        audra.goes_to("/admin/control-room/")

        assert audra.page.locator(".act-list a.button").count() == 0
        assert audra.page.locator(".act-list button:not([disabled])").count() == 0

    def test_assigns_an_account_to_a_cohort_and_watches_it_move(self, visit: Visits, house: House) -> None:
        omar = visit("omar")
        omar.goes_to("/admin/control-room/")
        omar.follows("Assign accounts to a cohort")
        omar.page.fill("#id_to", "first")
        omar.page.fill("#id_accounts", f"{OTHER}\nM-9999999")
        omar.page.fill("#id_reason", "a first one")
        omar.presses("Look at what it would do")
        assert "Accounts that would move 2" in omar.words
        omar.presses("Assign 2 accounts")
        omar.page.wait_for_url("**/control-room/assignments/**")
        assert "0 of 2 accounts are moved." in omar.words

        house.works("cutover.tasks.assign")

        omar.page.get_by_text("2 of 2 accounts are moved.").wait_for()
        assert house.ask("SELECT cohort FROM cutover_member WHERE account_number = %s", OTHER) == "first"
        assert house.ask("SELECT reason FROM cutover_journal WHERE cohort = 'first'") == "a first one"
        audra = visit("audra")
        audra.page.goto(omar.page.url)
        assert "2 of 2 accounts are moved." in audra.words
        audra.goes_to("/admin/control-room/assign/")
        assert audra.page.locator("#content form").count() == 0

    def _does(self, operator: Visit, act: str, why: str) -> None:
        operator.follows(act)
        operator.page.fill("#id_reason", why)
        operator.presses(act)
        operator.page.wait_for_url("**/control-room/?cohort=default*")


class TestFinance:
    def test_closes_the_month(self, visit: Visits) -> None:
        fina = visit("fina")
        fina.follows("Monthly roll-forward")
        assert "It ties: the last closing is" in fina.words
        fina.is_drawn_as("finance-roll-forward")
        fina.follows("2026-03")
        assert "so much remained in the lots when the month ended" in fina.words

        with fina.page.expect_download() as download:
            fina.follows("This month as CSV")
        with open(download.value.path(), newline="") as file:
            rows = list(csv.DictReader(file))
        shown = fina.page.locator("tbody tr").last.inner_text().split()
        assert [row["month"] for row in rows] == ["2026-03"] * len(rows)
        assert f"{int(rows[0]['closing']):,}" in shown

    def test_sees_what_was_owed_on_a_day(self, visit: Visits) -> None:
        fina = visit("fina")
        fina.goes_to("/admin/finance/liability/")
        fina.page.fill("#id_day", "2026-03-31")
        fina.presses("Show")

        assert "points were left in lots at 2026-04-01 00:00" in fina.words
        assert "It ties" in fina.words


class TestAuditor:
    def test_reads_everything_and_finds_nothing_to_press(self, visit: Visits) -> None:
        audra = visit("audra")
        audra.goes_to("/admin/")
        addresses = audra.page.locator("#content-main a").evaluate_all("links => links.map(a => a.pathname)")
        assert len(set(addresses)) > 15
        for address in sorted({each for each in addresses if "second-factor" not in each}):
            answer = audra.goes_to(address)
            assert answer.status == 200, address
            pressed = audra.page.locator("#content form[method=post] :is(button, input[type=submit])")
            assert pressed.count() == 0, address


class TestSigningIn:
    def test_a_code_is_asked_for_after_the_password(self, visit: Visits) -> None:
        somebody = visit()
        signs_in(somebody, "totp")
        assert "six digits" in somebody.words
        somebody.goes_to("/admin/support/find/")
        assert "six digits" in somebody.words or "Log in" in somebody.words

        totp = TOTP(bytes.fromhex(SECRET))
        totp.time = time.time()
        somebody.goes_to("/admin/login/")
        somebody.page.fill("#id_code", f"{totp.token():06d}")
        somebody.presses("Go on")
        somebody.page.wait_for_load_state()

        assert "What you can do here" in somebody.words

    def test_five_wrong_passwords_lock_the_login_even_for_the_right_one(self, visit: Visits) -> None:
        somebody = visit()
        for _ in range(5):
            signs_in(somebody, "locked", "wrong")
        assert "The password was wrong 5 times" in somebody.words

        signs_in(somebody, "locked", PASSWORD)

        assert "The password was wrong 5 times" in somebody.words

    @pytest.mark.parametrize("name", sorted(set(PEOPLE) - {"locked", "totp"}))
    def test_each_role_is_told_what_it_does(self, name: str, visit: Visits) -> None:
        somebody = visit(name)
        somebody.goes_to("/admin/")

        assert somebody.page.locator("#content-main .pill").first.inner_text().lower() == PEOPLE[name]
