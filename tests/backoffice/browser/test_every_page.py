"""Every address of the back office that is a page, and every step of a form, is checked by axe: in light and
dark, on a desk and on a phone. An address that has no row here fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.backoffice.browser.conftest import DESK, PHONE, House, Visit
from tests.backoffice.browser.seeding import MINJI
from tests.backoffice.browser.test_looks import wrongs

Visits = Callable[..., Visit]

#: What is put into an address: from the rows that the seeding made.
_ASKED = {
    "user": "SELECT id FROM auth_user WHERE username = 'sora'",
    "own_group": "INSERT INTO auth_group (name) VALUES ('a group of our own') RETURNING id",
    "client": "SELECT id FROM ledger_client WHERE name = 'orders'",
    "operation": "SELECT id FROM ledger_operation WHERE reference = 'order-90017' AND kind = 'spend'",
    "lot": "SELECT id FROM ledger_lot ORDER BY id LIMIT 1",
    "request": "SELECT id FROM backoffice_approval_request ORDER BY id LIMIT 1",
    "mass_grant": "SELECT id FROM backoffice_mass_grant ORDER BY id LIMIT 1",
    "doubt": "SELECT operation_id FROM cutover_intent WHERE state = 'in_doubt'",
    "order": "SELECT id FROM cutover_assignment_order ORDER BY id LIMIT 1",
}
#: Pages beside those of the models; `{}` is filled in with what is asked for by that name.
PAGES = {
    "index": ["/admin/"],
    "app_list": ["/admin/ledger/", "/admin/cutover/"],
    "password_change": ["/admin/password_change/"],
    "password_change_done": ["/admin/password_change/done/"],
    "second_factor_set_up": ["/admin/second-factor/set-up/"],
    "auth_user_password_change": ["/admin/auth/user/{user}/password/"],
    "auth_user_reset_second_factor": ["/admin/auth/user/{user}/reset-second-factor/"],
    "auth_user_unlock": ["/admin/auth/user/{user}/unlock/"],
    "auth_group_delete": ["/admin/auth/group/{own_group}/delete/"],
    "ledger_client_next_key": ["/admin/ledger/client/{client}/next-key/"],
    "ledger_client_revoke": ["/admin/ledger/client/{client}/revoke/"],
    "support_search": [
        "/admin/support/find/",
        "/admin/support/find/?q=M-2",
        "/admin/support/find/?q=nothing-like-it",
    ],
    "support_account": [
        f"/admin/support/accounts/{MINJI}/",
        f"/admin/support/accounts/{MINJI}/?lots=all",
        "/admin/support/accounts/never-seen/",
    ],
    "support_operation": ["/admin/support/operations/{operation}/"],
    "support_lot": ["/admin/support/lots/{lot}/"],
    "support_move": [
        f"/admin/support/accounts/{MINJI}/{kind}/"
        for kind in ("grant", "deduct", "transfer", "block", "unblock", "close")
    ],
    "support_cancel": ["/admin/support/operations/{operation}/cancel/"],
    "support_requests": ["/admin/support/requests/", "/admin/support/requests/?show=all"],
    "support_request": ["/admin/support/requests/{request}/"],
    "support_mass_grants": ["/admin/support/mass-grants/"],
    "support_mass_grant": ["/admin/support/mass-grants/{mass_grant}/"],
    "control_room": ["/admin/control-room/", "/admin/control-room/?cohort=early"],
    "control_room_act": [
        f"/admin/control-room/act/{name}/"
        for name in ("rollback", "freeze", "thaw", "finish", "approve", "capture-off")
    ],
    "control_room_assign": ["/admin/control-room/assign/"],
    "control_room_assignment": ["/admin/control-room/assignments/{order}/"],
    "control_room_doubt": ["/admin/control-room/doubts/{doubt}/"],
    "control_room_month": ["/admin/control-room/month/"],
    "finance_roll_forward": ["/admin/finance/"],
    "finance_month": ["/admin/finance/months/2026-03/"],
    "finance_liability": ["/admin/finance/liability/", "/admin/finance/liability/?day=2020-01-01"],
}
#: Addresses that show nothing of their own, and why.
NO_PAGES = {
    "login": "for strangers: test_looks",
    "second_factor": "for whoever gave only the password: below",
    "logout": "only sent",
    "jsi18n": "a script",
    "autocomplete": "JSON",
    "view_on_site": "leads nowhere",
    "unnamed": "Django's shortcuts",
    "backoffice_auditentry_export": "a file",
    "support_mass_grant_results": "a file",
    "control_room_journal": "a file",
    "finance_roll_forward_file": "a file",
    "finance_liability_file": "a file",
}


def names() -> set[str]:
    from tests.backoffice import routes

    return set(routes.names())


def pages_of_models(house: House) -> dict[str, list[str]]:
    """Django's pages of each model: its list, and its first row; the form where one can be added."""
    from django.contrib import admin

    pages: dict[str, list[str]] = {}
    for model in admin.site._registry:
        meta = model._meta
        name, base = f"{meta.app_label}_{meta.model_name}", f"/admin/{meta.app_label}/{meta.model_name}/"
        pages[f"{name}_changelist"] = [base]
        row = house.ask(f"SELECT {meta.pk.column} FROM {meta.db_table} LIMIT 1")
        pages[f"{name}_change"] = [] if row is None else [f"{base}{row}/change/"]
        if name in ("auth_user", "auth_group", "ledger_client", "ledger_reason"):
            pages[f"{name}_add"] = [f"{base}add/"]
    return pages


def is_refused(name: str) -> bool:
    """Models are not added and deleted here, and have no history of edits; a page says so."""
    return name.endswith(("_add", "_delete", "_history"))


def test_every_address_has_a_row_here(house: House) -> None:
    known = {*PAGES, *NO_PAGES, *pages_of_models(house)}

    assert sorted(name for name in names() if name not in known and not is_refused(name)) == []
    assert sorted(name for name in known if name not in names()) == []


def looks(visit: Visit, found: dict[str, list[str]], name: str) -> None:
    """Axe, and whether it fits, in four ways."""
    for scheme in ("light", "dark"):
        for size in (DESK, PHONE):
            visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            visit.page.set_viewport_size(size)
            complaints = wrongs(visit)
            wide = visit.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            if wide > 0:
                complaints.append(f"{wide} px wider than the screen")
            if complaints:
                found[f"{name}, {scheme}, {size['width']}"] = complaints


@pytest.mark.slow
def test_every_page_is_accessible_and_fits(visit: Visits, house: House) -> None:
    root = visit("root")
    asked = {name: house.ask(statement) for name, statement in _ASKED.items()}
    assert None not in asked.values(), asked
    found: dict[str, list[str]] = {}
    for name, addresses in sorted({**PAGES, **pages_of_models(house)}.items()):
        for address in addresses:
            answer = root.goes_to(address.format(**asked))
            assert answer.status == 200, (name, address, answer.status)
            looks(root, found, address)
    assert not found, "\n".join(f"{where}: {what}" for where, what in found.items())


@pytest.mark.slow
def test_every_step_of_a_form_is_accessible_and_fits(visit: Visits, house: House) -> None:
    root = visit("root")
    found: dict[str, list[str]] = {}
    fields: dict[str, Any] = {
        "#id_points": "10",
        "#id_note": "a broken parcel",
        "#id_to_account_number": "M-1",
    }
    for kind in ("grant", "deduct", "transfer", "block", "close"):
        root.goes_to(f"/admin/support/accounts/{MINJI}/{kind}/")
        root.presses("Look at what it would do")
        looks(root, found, f"{kind} with nothing in it")
        for field, value in fields.items():
            if root.page.locator(field).count():
                root.page.fill(field, value)
        if root.page.locator("#id_reason").count():
            root.page.select_option("#id_reason", index=1)
        root.presses("Look at what it would do")
        # Before the end of the cutover a gift is refused, which is a page too.
        assert ("This would happen" in root.words) == (kind != "transfer"), kind
        looks(root, found, f"{kind} as it would be")
    root.goes_to("/admin/control-room/assign/")
    root.presses("Look at what it would do")
    looks(root, found, "assign with nothing in it")
    root.page.fill("#id_to", "early")
    root.page.fill("#id_percent", "5")
    root.page.fill("#id_reason", "a first few")
    root.presses("Look at what it would do")
    looks(root, found, "assign as it would be")
    root.goes_to("/admin/support/mass-grants/")
    root.page.set_input_files("#id_file", {"name": "x.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    root.page.locator("#content form[enctype] button").click()
    looks(root, found, "a file that is not taken")
    root.goes_to("/admin/ledger/client/add/")
    root.page.fill("#id_name", "for-axe")
    root.page.locator("input[name=scopes]").first.check()
    root.page.locator("#content form button.primary, #content form input[type=submit]").first.click()
    looks(root, found, "a key that is shown once")
    assert not found, "\n".join(f"{where}: {what}" for where, what in found.items())


def test_the_second_step_of_a_sign_in_is_accessible(visit: Visits) -> None:
    from tests.backoffice.browser.conftest import signs_in

    somebody = visit()
    signs_in(somebody, "totp")
    found: dict[str, list[str]] = {}
    looks(somebody, found, "the code")
    assert not found, "\n".join(f"{where}: {what}" for where, what in found.items())
