"""What every page keeps: nothing inline, for the policy refuses it; one stylesheet; both languages."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from tests.backoffice import routes
from tests.backoffice.test_permissions import TABLE
from tests.ledger.member import Member


class Inline(HTMLParser):
    """Collects what a strict Content-Security-Policy refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        # Data in a script element is not run.
        runs = tag == "script" and not values.get("src") and values.get("type") != "application/json"
        if tag == "style" or runs:
            self.found.append(f"<{tag}>")
        for name, value in values.items():
            if name == "style" or name.startswith("on"):
                self.found.append(f"{tag} {name}")
            if name in ("href", "src", "action") and (value or "").strip().lower().startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")


def inline_of(page: str) -> list[str]:
    parser = Inline()
    parser.feed(page)
    return parser.found


@pytest.fixture
def root(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person(username="root", is_superuser=True))


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("<p class=a>", []),
        ("<script src='/a.js'></script>", []),
        ("<style>a{}</style>", ["<style>"]),
        ("<script>1</script>", ["<script>"]),
        ("<p style='a:b'>", ["p style"]),
        ("<a onclick='x()'>", ["a onclick"]),
        ("<a href=' JavaScript:x'>", ["a href= JavaScript:x"]),
    ],
)
def test_the_search_for_inline_code_finds_it(page: str, found: list[str]) -> None:
    assert inline_of(page) == found


@pytest.mark.parametrize("language", ["en", "ko"])
def test_no_page_has_inline_code_and_all_carry_the_policy(
    language: str, root: Browser, member: Member
) -> None:
    things = routes.Things(member)
    seen = 0
    for name in TABLE:
        answer = root.get(things.address(name), headers={"Accept-Language": language})
        if not answer.headers.get("Content-Type", "").startswith("text/html") or answer.status_code != 200:
            continue
        seen += 1
        page = answer.content.decode()
        assert inline_of(page) == [], name
        assert "pointsystem/backoffice.css" in page, name
        assert f'<html lang="{language}"' in page, name
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
    assert seen > 40


@pytest.mark.parametrize(
    "name", ["auth_user_add", "ledger_client_add", "ledger_reason_add", "password_change"]
)
def test_refused_forms_have_no_inline_code_either(name: str, root: Browser, member: Member) -> None:
    answer = root.post(routes.Things(member).address(name), {})

    assert answer.status_code == 200
    assert inline_of(answer.content.decode()) == []


def test_the_language_is_chosen_at_the_foot_of_each_page(root: Browser) -> None:
    assert 'value="ko"' in root.get("/admin/").content.decode()

    answer = root.post("/i18n/setlang/", {"language": "ko", "next": "/admin/"})

    assert answer["Location"] == "/admin/"
    assert '<html lang="ko"' in root.get("/admin/").content.decode()


def test_times_are_those_of_the_programme(root: Browser, member: Member) -> None:
    member.earns(10)

    page = root.get("/admin/ledger/account/").content.decode()

    # Noon in Seoul, which is 03:00 UTC.
    assert "2026-03-01 12:00:00" in page
    assert "Asia/Seoul" in page


@pytest.mark.parametrize(
    ("role", "words", "not_words"),
    [
        ("support", ["You find accounts", 'role="search"'], ["Audit trail", "Users"]),
        ("auditor", ["change nothing", "Audit trail", "Users"], []),
        ("finance", ["You close the month"], ["Clients", "Intents"]),
        (None, ["You have no role yet"], ['role="search"', "Accounts"]),
    ],
)
def test_the_landing_page_says_what_one_can_do(
    role: str | None,
    words: list[str],
    not_words: list[str],
    person: Callable[..., User],
    sign_in: Callable[[User], Browser],
) -> None:
    page = sign_in(person(role)).get("/admin/").content.decode()

    assert [word for word in words if word not in page] == []
    assert [word for word in not_words if word in page] == []


def test_who_may_not_come_in_is_told_so_in_words(
    person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    browser = sign_in(person("support"))

    refused = browser.get("/admin/auth/user/")
    missing = browser.get("/admin/no-such-page/")
    forged = Browser(enforce_csrf_checks=True).post("/admin/login/", {})

    for answer, status, words in (
        (refused, 403, "Your role does not reach here"),
        (missing, 404, "There is no such page"),
        (forged, 403, "Nothing was done: open the page again"),
    ):
        page = answer.content.decode()
        assert answer.status_code == status
        assert words in page
        assert inline_of(page) == []
