"""The pages of the desk: what stands on them, and nothing that a strict browser would refuse."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client as Browser
from django.urls import reverse

from ledger import balances, operations
from ledger.models import Account, AccountStatus, Operation
from pointsystem.backoffice.support import account_page
from pointsystem.backoffice.support.account_page import CacheLine
from pointsystem.backoffice.support.confirming import confirm
from tests.backoffice.support.people import grant_of, make_person, signed_in, text_of
from tests.factories import ClientFactory, OperationFactory
from tests.ledger.member import Member, refusal_of

#: Scripts, styles and handlers that stand in the page itself.
_INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")|<style|\sstyle=|\son[a-z]+=|javascript:", re.I
)


def page_of(browser: Browser, name: str, *arguments: Any, **query: Any) -> HttpResponse:
    answer = browser.get(reverse(f"admin:{name}", args=arguments), query)
    assert isinstance(answer, HttpResponse)
    return answer


class TestTheAccountPage:
    def test_shows_the_truth_the_lots_and_what_happened(self, member: Member, supporter: User) -> None:
        member.earns(100, reference="order-1")
        member.spends(40, reference="order-2")

        shown = text_of(page_of(signed_in(supporter), "support_account", member.number))

        assert "Available now 60 As the ledger says, from PostgreSQL." in shown
        assert re.search(
            r"It took these lots: −40 of a lot of 100 \(lot\) , earned [0-9-]+ by ORDER_REWARD order-1", shown
        )
        assert "Made a lot of 100" in shown
        assert "60 left." in shown
        assert re.search(r"This lot went there: −40 [0-9-]+ spend order-2", shown)

    def test_says_what_is_not_settled(self, member: Member, supporter: User) -> None:
        for state in ("pending", "accepted", "in_doubt"):
            OperationFactory(
                client=ClientFactory(), account_number=member.number, state=state, reference=f"r-{state}"
            )

        shown = text_of(page_of(signed_in(supporter), "support_account", member.number))

        assert "Not settled yet" in shown
        assert "it is being found out" in shown
        assert "it waits in order, and is done soon" in shown
        assert "given to the side that decides, no answer yet" in shown

    def test_shows_debts_status_and_refusals(self, member: Member, supporter: User) -> None:
        from tests.factories import ReasonFactory

        earned = member.earns(100, reason=ReasonFactory(policy__clawback="debt").code)
        member.spends(100)
        member.cancels(earned)
        refusal_of(member.spends, 5)
        operations.change_account_status(
            account_number=member.number, status=AccountStatus.BLOCKED, note="a complaint", actor="kim"
        )

        shown = text_of(page_of(signed_in(supporter), "support_account", member.number))

        assert "Debt 100" in shown
        assert "a complaint" in shown
        assert "The account has too few points. Nothing was taken. 0 points are available." in shown
        assert "100 could not be got back" in shown

    def test_of_an_account_that_nobody_opened_says_so(self, supporter: User) -> None:
        shown = text_of(page_of(signed_in(supporter), "support_account", "nobody-1"))

        assert "There is no such account yet. Its first earn opens it." in shown
        assert "Nothing has happened on this account." in shown

    def test_pages_through_lots_and_history(self, member: Member, supporter: User) -> None:
        for _ in range(30):
            member.earns(10)
        browser = signed_in(supporter)

        first = page_of(browser, "support_account", member.number).content.decode()
        older = re.search(r'href="(\?older=[^"]+)"', first)
        lots = re.search(r'href="(\?lots=live&amp;lots_cursor=[^"]+)"', first)

        assert older is not None
        assert lots is not None
        where = reverse("admin:support_account", args=[member.number])
        assert text_of(browser.get(where + older[1])).count("balance then") == 5  # type: ignore[arg-type]
        second = browser.get(where + lots[1].replace("&amp;", "&")).content.decode()
        assert second.count("<progress") == 5
        assert browser.get(where, {"older": "x"}).status_code == 404
        assert browser.get(where, {"lots_cursor": "x"}).status_code == 200

    def test_shows_all_lots_with_what_is_left_of_each(self, member: Member, supporter: User) -> None:
        member.earns(100)
        member.earns(100)
        member.spends(150)
        browser = signed_in(supporter)

        live = page_of(browser, "support_account", member.number).content.decode()
        everything = page_of(browser, "support_account", member.number, lots="all").content.decode()

        assert re.findall(r'<progress value="(\d+)"', live) == ["50"]
        assert re.findall(r'<progress value="(\d+)"', everything) == ["0", "50"]


class TestTheCache:
    @pytest.fixture
    def account(self, committed_db: None) -> Member:
        account = Member()
        account.earns(100)
        return account

    def line(self, member: Member) -> CacheLine:
        return account_page.head(account_number=member.number).cache

    def refresh(self, member: Member) -> None:
        balances.refresh(account_ids=[Account.objects.get(account_number=member.number).id])

    def test_that_is_fresh_says_the_same(self, account: Member) -> None:
        self.refresh(account)

        assert (self.line(account).state, self.line(account).available) == ("same", 100)

    def test_is_said_to_be_behind_when_it_knows_fewer_entries(self, account: Member) -> None:
        from ledger.balances import _store
        from ledger.queries import balance_with_sequence

        record, sequence = balance_with_sequence(account_number=account.number)
        account.spends(30)
        _store.put([_store.VersionedBalance(record=record, sequence=sequence + 5)])
        _store.put([_store.VersionedBalance(record=record, sequence=sequence)], found=_raw(account.number))

        line = self.line(account)

        assert (line.state, line.available) == ("behind", 100)
        assert "it knows 1 of 2 entries" in line.sentence
        assert account_page.head(account_number=account.number).balance.answer.available == 70  # type: ignore[union-attr]

    def test_of_which_a_change_was_noted_is_not_read(self, account: Member) -> None:
        from ledger.balances import _store

        # Of an entry that is still to come: no refresh that is under way knows it.
        _store.note_changes([(account.number, 1000)])

        line = self.line(account)

        assert (line.state, line.available) == ("noted", None)

    def test_that_holds_nothing_says_so(self, db: None) -> None:
        assert account_page.head(account_number="nobody-1").cache.state == "absent"


def _raw(account_number: str) -> bytes:
    from ledger.balances import _store

    raw = _store.get(account_number)
    assert isinstance(raw, bytes)
    return raw


class TestEveryPage:
    @pytest.fixture
    def answers(self, member: Member, lead: User, settings: Any) -> dict[str, HttpResponse]:
        settings.POINTS_APPROVAL_LIMIT = 1000
        earned = member.earns(100, reference="order-1")
        spent = member.spends(40)
        member.gives(10, to=Member())
        asked = confirm(move=grant_of(member.number, 5000), person=make_person("support")).request
        assert asked is not None
        browser = signed_in(lead)
        content = f"account_number,points,reason\n{member.number},5,EVENT\n".encode()
        mass_grant = browser.post(
            reverse("admin:support_mass_grants"), {"file": SimpleUploadedFile("a.csv", content)}
        )["Location"]
        pages = {
            "search": reverse("admin:support_search") + "?q=m-",
            "account": reverse("admin:support_account", args=[member.number]),
            "operation": reverse("admin:support_operation", args=[spent.id]),
            "lot": reverse("admin:support_lot", args=[(earned.lots or [])[0].lot]),
            "cancel": reverse("admin:support_cancel", args=[spent.id]),
            "requests": reverse("admin:support_requests"),
            "request": reverse("admin:support_request", args=[asked.id]),
            "mass grants": reverse("admin:support_mass_grants"),
            "mass grant": mass_grant,
            **{
                kind: reverse("admin:support_move", args=[member.number, kind])
                for kind in ("grant", "deduct", "transfer", "block", "unblock", "close")
            },
        }
        return {name: browser.get(where) for name, where in pages.items()}  # type: ignore[misc]

    def test_opens_and_holds_no_script_and_no_style_of_its_own(
        self, answers: dict[str, HttpResponse]
    ) -> None:
        for name, answer in answers.items():
            assert answer.status_code == 200, name
            assert _INLINE.findall(answer.content.decode()) == [], name
            assert "'unsafe-inline'" not in answer["Content-Security-Policy"]

    def test_has_a_label_for_every_field(self, answers: dict[str, HttpResponse]) -> None:
        for name, answer in answers.items():
            page = answer.content.decode()
            labels = set(re.findall(r'<label for="([^"]+)"', page))
            fields = re.findall(r'<(?:input|select|textarea)[^>]*\bid="(id_[^"]+)"[^>]*>', page)
            visible = {one for one in fields if f'type="hidden" name="{one[3:]}"' not in page}
            assert visible - labels - {"id_token"} == set(), name

    def test_sends_who_is_not_signed_in_to_the_login(self, member: Member) -> None:
        for name, arguments in (
            ("support_search", []),
            ("support_account", [member.number]),
            ("support_requests", []),
            ("support_mass_grants", []),
        ):
            answer = Browser().get(reverse(f"admin:{name}", args=arguments))
            assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login"))


def test_an_operation_that_is_nowhere_is_not_found(supporter: User, member: Member) -> None:
    browser = signed_in(supporter)
    nowhere = "01980a0b-7c1d-7e2f-8a3b-4c5d6e7f8091"

    assert page_of(browser, "support_operation", nowhere).status_code == 404
    assert page_of(browser, "support_lot", nowhere).status_code == 404
    assert page_of(browser, "support_cancel", nowhere).status_code == 404


def test_what_is_no_earn_or_spend_cannot_be_cancelled(member: Member, supporter: User) -> None:
    member.earns(10)
    given = member.gives(5, to=Member())

    assert page_of(signed_in(supporter), "support_cancel", given.id).status_code == 404


def test_an_account_number_with_strange_characters_is_not_found(
    person: Callable[[str], User],
) -> None:
    browser = signed_in(person("auditor"))

    assert browser.get("/admin/support/accounts/a%20b/").status_code == 404
    assert Operation.objects.filter(account_number="a b").count() == 0
