"""Every page can be used by everybody: checked by axe, in light and dark, on a desk and on a phone."""

import json
from collections.abc import Callable

import pytest

from tests.backoffice.browser.conftest import DESK, PHONE, Visit
from tests.backoffice.browser.seeding import MINJI

Visits = Callable[..., Visit]

MAIN = {
    "landing": "/admin/",
    "account": f"/admin/support/accounts/{MINJI}/",
    "grant": f"/admin/support/accounts/{MINJI}/grant/",
    "control-room": "/admin/control-room/",
    "roll-forward": "/admin/finance/",
    "month": "/admin/finance/months/2026-03/",
    "liability": "/admin/finance/liability/",
    "entries": "/admin/ledger/entry/",
}
#: What of the WCAG axe can decide by itself.
_RULES = {
    "preload": False,
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
}


def wrongs(visit: Visit) -> list[str]:
    """What axe finds on the page that is open. What the policy refuses to axe is not the page's affair."""
    from axe_playwright_python.sync_playwright import Axe

    heard = list(visit.complaints)
    options = json.dumps(_RULES)
    visit.page.evaluate(Axe().axe_script)
    found = visit.page.evaluate(f"axe.run({options}).then(results => results.violations)")
    visit.complaints[:] = heard
    return [
        f"{each['id']}: {node['target']} {node['html'][:160]}" for each in found for node in each["nodes"][:3]
    ]


@pytest.mark.parametrize(
    ("scheme", "size"), [("dark", DESK), ("light", PHONE)], ids=["dark on a desk", "light on a phone"]
)
def test_main_pages_are_accessible_and_fit(visit: Visits, scheme: str, size: dict[str, int]) -> None:
    audra, sora = visit("audra", scheme=scheme, size=size), visit("sora", scheme=scheme, size=size)
    found: dict[str, list[str]] = {}
    for name, address in MAIN.items():
        somebody = sora if name == "grant" else audra
        assert somebody.goes_to(address).status == 200, name
        complaints = wrongs(somebody)
        wide = somebody.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            complaints.append(f"{wide} px wider than the screen")
        if complaints:
            found[name] = complaints
        if name == ("roll-forward" if size is PHONE else "account"):
            somebody.is_drawn_as(f"{name}-{'phone' if size is PHONE else 'dark'}")
    assert found == {}, found


def test_every_page_that_an_auditor_can_open_is_accessible(visit: Visits) -> None:
    audra = visit("audra")
    audra.goes_to("/admin/")
    links = audra.page.locator("#content-main a, #user-tools a").evaluate_all(
        "links => links.map(a => a.pathname)"
    )
    found = {}
    for address in sorted(set(links)):
        assert audra.goes_to(address).status == 200, address
        if complaints := wrongs(audra):
            found[address] = complaints
        # The first row of a list leads to the page of a thing.
        row = audra.page.locator("#result_list tbody th a")
        if row.count():
            row.first.click()
            if complaints := wrongs(audra):
                found[f"{address} one"] = complaints
    assert found == {}, found


@pytest.mark.parametrize("address", ["/admin/login/", "/admin/no-such-page/"])
def test_pages_of_strangers_are_accessible(visit: Visits, address: str) -> None:
    stranger = visit()
    stranger.goes_to(address)

    assert wrongs(stranger) == []


def test_the_check_finds_what_is_wrong(visit: Visits) -> None:
    audra = visit("audra")
    audra.goes_to("/admin/")
    audra.page.evaluate("document.querySelector('main, #main').innerHTML += '<img src=\"/x.png\"><input>'")

    assert {each.split(":")[0] for each in wrongs(audra)} >= {"image-alt", "label"}


def test_a_page_that_runs_inline_code_would_be_heard(visit: Visits) -> None:
    audra = visit("audra")
    audra.goes_to("/admin/")
    audra.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\" onclick=\"1\">x</p>')"
    )
    audra.page.wait_for_timeout(200)

    heard = [each for each in audra.complaints if "Content Security Policy" in each]
    audra.complaints.clear()
    assert heard
