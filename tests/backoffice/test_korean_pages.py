"""No page of a Korean user shows an English text of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser
from django.urls import reverse

from pointsystem.backoffice.models import ApprovalRequest
from pointsystem.backoffice.roles import ROLE_NAMES
from pointsystem.backoffice.support import requests
from pointsystem.backoffice.support.confirming import confirm
from tests.backoffice import routes
from tests.backoffice.korean_reading import english_left
from tests.backoffice.support.people import deduct_of, grant_of, make_person, token_of
from tests.backoffice.test_permissions import TABLE
from tests.ledger.member import Member

#: What somebody typed or named: it is shown as it is.
TYPED = {
    "root", "somebody", "a broken parcel", "granted twice", "no ticket", "legacy", "system", "back-office",
    "grants.csv", *ROLE_NAMES,
}  # fmt: skip


@pytest.fixture
def root(person: Callable[..., User]) -> User:
    return person(username="root", is_superuser=True)


@pytest.fixture
def browser(root: User, sign_in: Callable[[User], Browser]) -> Browser:
    opened = sign_in(root)
    opened.cookies["django_language"] = "ko"
    return opened


def left_on(pages: Iterator[tuple[str, Any]], **typed: str) -> list[str]:
    found = []
    for name, answer in pages:
        if answer["Content-Type"].startswith("text/html") and answer.content:
            left = english_left(answer.content.decode(), data={*TYPED, *typed.values()})
            found += [f"{name}: {each}" for each in sorted(left)]
    return found


def test_what_is_left_in_english_is_found() -> None:
    page = (
        '<p>잔액 Balance</p><code>not this</code><a title="Look here">열기</a><p>M-100 CSV x@y.z REVIEW</p>'
    )

    assert {each.partition("   ")[0] for each in english_left(page, data=set())} == {"Balance", "Look here"}
    assert english_left(page, data={"Balance", "Look here"}) == set()


def test_every_address_answers_in_korean(member: Member, browser: Browser) -> None:
    things = routes.Things(member)

    found = left_on((name, browser.get(things.address(name))) for name in sorted(TABLE))

    assert not found, "\n".join(found)


def test_a_wrong_form_and_a_page_that_is_not_there_answer_in_korean(member: Member, browser: Browser) -> None:
    things = routes.Things(member)

    def answers() -> Iterator[tuple[str, Any]]:
        for name in ("ledger_reason_add", "ledger_client_add", "auth_user_add", "auth_group_add", "login"):
            counts = {f"policies-{each}_FORMS": "0" for each in ("TOTAL", "INITIAL")}
            yield f"{name} empty", browser.post(things.address(name), {"audit_reason": "", **counts})
        for kind in ("grant", "deduct", "transfer", "block"):
            yield (
                kind,
                browser.post(reverse("admin:support_move", args=[member.number, kind]), {"points": "x"}),
            )
        yield (
            "file",
            browser.post(
                reverse("admin:support_mass_grants"),
                {"file": SimpleUploadedFile("grants.csv", b"account_number,points,reason\nM 1,x,NO\n,,\n")},
            ),
        )
        yield "missing", browser.get("/admin/no-such-page/")
        yield "no month", browser.get(reverse("admin:finance_month", args=["2999-01"]))
        yield "no day", browser.get(reverse("admin:finance_liability"), {"day": "x"})
        yield "search", browser.get(reverse("admin:support_search"), {"q": "nothing-like-this"})

    found = left_on(answers(), number=member.number, term="nothing-like-this")
    assert not found, "\n".join(found)


def test_previews_refusals_and_requests_are_korean(
    member: Member, browser: Browser, root: User, settings: Any
) -> None:
    settings.POINTS_APPROVAL_LIMIT = 1_000
    earned = member.earns(100)
    member.spends(30)
    author, lead = make_person("support"), make_person("support lead")
    ended = {}
    for points in (2_000, 3_000):
        asked = confirm(move=grant_of(member.number, points), person=author).request
        assert asked is not None
        ended[points] = asked
    requests.reject(request_id=ended[2_000].id, person=lead, note="no ticket")
    refused = confirm(move=deduct_of(member.number, 5_000), person=author).request
    assert refused is not None
    requests.approve(request_id=refused.id, person=lead)
    assert ApprovalRequest.objects.get(id=refused.id).outcome.startswith("The account has too few points.")

    def answers() -> Iterator[tuple[str, Any]]:
        for kind, values in {
            "grant": {"points": "10", "reason": "COMPENSATION", "expiry": "by policy"},
            "grant too much": {"points": "5000", "reason": "COMPENSATION", "expiry": "never"},
            "deduct": {"points": "10", "reason": "CORRECTION"},
            "deduct too much": {"points": "900", "reason": "CORRECTION"},
            "transfer": {"points": "10", "reason": "GIFT", "to_account_number": "M-2"},
            "transfer to itself": {"points": "10", "reason": "GIFT", "to_account_number": member.number},
            "block": {},
            "close": {},
        }.items():
            address = reverse("admin:support_move", args=[member.number, kind.partition(" ")[0]])
            given = {"token": token_of(browser.get(address)), "note": "a broken parcel", **values}  # type: ignore[arg-type]
            yield kind, browser.post(address, {**given, "step": "preview"})
        address = reverse("admin:support_cancel", args=[earned.id])
        for points in ("100", "70", "101"):
            given = {"token": token_of(browser.get(address)), "note": "a broken parcel", "points": points}  # type: ignore[arg-type]
            yield (
                f"cancel {points}",
                browser.post(address, {**given, "reason": "CORRECTION", "step": "preview"}),
            )
        for asked in ApprovalRequest.objects.all():
            yield f"request {asked.state}", browser.get(reverse("admin:support_request", args=[asked.id]))
        yield "requests", browser.get(reverse("admin:support_requests"), {"show": "all"})
        yield "account", browser.get(reverse("admin:support_account", args=[member.number]), {"lots": "all"})

    found = left_on(answers(), number=member.number, author=author.username, lead=lead.username)
    assert not found, "\n".join(found)
