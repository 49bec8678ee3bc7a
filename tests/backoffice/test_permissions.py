"""Who may open what: every address of the back office, for everybody. A new address without a row fails."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Browser

from ledger.admin import ReadOnlyAdmin
from pointsystem.backoffice import roles
from pointsystem.backoffice.editing.audited import Audited
from tests.backoffice import routes
from tests.ledger.member import Member

SUPPORT, LEAD, OPERATOR = roles.SUPPORT, roles.SUPPORT_LEAD, roles.OPERATOR
APPROVER, FINANCE, AUDITOR = roles.APPROVER, roles.FINANCE, roles.AUDITOR
SUPERUSER, NO_ROLE = "superuser", "no role"

ROLES = {SUPPORT, LEAD, OPERATOR, APPROVER, FINANCE, AUDITOR}
EVERYBODY = {*ROLES, SUPERUSER, NO_ROLE}
NOBODY: set[str] = set()
OF_LEDGER = {*ROLES, SUPERUSER}
OF_CLIENTS = {OPERATOR, AUDITOR, SUPERUSER}
OF_CUTOVER = {OPERATOR, APPROVER, AUDITOR, SUPERUSER}
OF_FINANCE = {FINANCE, AUDITOR, SUPERUSER}
OF_PEOPLE = {AUDITOR, SUPERUSER}
OPERATORS = {OPERATOR, SUPERUSER}
MOVERS = {SUPPORT, LEAD, SUPERUSER}


class Row(NamedTuple):
    open_to: set[str]
    #: What everybody else gets.
    otherwise: int = 403
    #: What those it is open to get, where that is not a page or a way on.
    answer: int | None = None


def looked_at(name: str, by: set[str]) -> dict[str, Row]:
    """A model that is only looked at: never added, changed, deleted, and without a history of edits."""
    return {
        f"{name}_changelist": Row(by),
        f"{name}_change": Row(by),
        f"{name}_add": Row(NOBODY),
        f"{name}_delete": Row(NOBODY),
        f"{name}_history": Row(NOBODY, otherwise=404),
    }


def edited(name: str, *, seen_by: set[str], added_by: set[str], deleted_by: set[str]) -> dict[str, Row]:
    return {
        f"{name}_changelist": Row(seen_by),
        f"{name}_change": Row(seen_by),
        f"{name}_add": Row(added_by),
        f"{name}_delete": Row(deleted_by),
        f"{name}_history": Row({AUDITOR, SUPERUSER}),
    }


TABLE: dict[str, Row] = {
    "index": Row(EVERYBODY),
    "login": Row(EVERYBODY),
    "logout": Row(EVERYBODY, answer=405),
    "password_change": Row(EVERYBODY),
    "password_change_done": Row(EVERYBODY),
    "second_factor": Row(EVERYBODY),
    "second_factor_set_up": Row(EVERYBODY),
    "jsi18n": Row(EVERYBODY),
    "autocomplete": Row(NOBODY),
    "view_on_site": Row(NOBODY, otherwise=404),
    "app_list": Row(OF_LEDGER, otherwise=404),
    **looked_at("ledger_account", OF_LEDGER),
    **looked_at("ledger_operation", OF_LEDGER),
    **looked_at("ledger_entry", OF_LEDGER),
    **looked_at("ledger_lot", OF_LEDGER),
    **looked_at("ledger_debt", OF_LEDGER),
    **looked_at("ledger_accountstatuschange", OF_LEDGER),
    **looked_at("ledger_inboxitem", OF_LEDGER),
    **looked_at("ledger_clientactivity", OF_CLIENTS),
    **looked_at("cutover_callerscan", OF_CUTOVER),
    **looked_at("cutover_route", OF_CUTOVER),
    **looked_at("cutover_intent", OF_CUTOVER),
    **looked_at("cutover_mirrormessage", OF_CUTOVER),
    **looked_at("cutover_mismatch", OF_CUTOVER),
    **looked_at("cutover_run", OF_CUTOVER),
    **looked_at("backoffice_auditentry", {AUDITOR, SUPERUSER}),
    "backoffice_auditentry_export": Row({AUDITOR, SUPERUSER}),
    **edited("ledger_reason", seen_by=OF_LEDGER, added_by=OPERATORS, deleted_by=NOBODY),
    **edited("ledger_client", seen_by=OF_CLIENTS, added_by=OPERATORS, deleted_by=NOBODY),
    "ledger_client_next_key": Row(OPERATORS),
    "ledger_client_revoke": Row(OPERATORS),
    **edited("auth_user", seen_by=OF_PEOPLE, added_by={SUPERUSER}, deleted_by=NOBODY),
    "auth_user_password_change": Row({SUPERUSER}),
    "auth_user_reset_second_factor": Row({SUPERUSER}),
    "auth_user_unlock": Row({SUPERUSER}),
    # The group that is asked for is a built-in role, which not even a superuser deletes.
    **edited("auth_group", seen_by=OF_PEOPLE, added_by={SUPERUSER}, deleted_by=NOBODY),
    "support_search": Row(OF_LEDGER),
    "support_account": Row(OF_LEDGER),
    "support_operation": Row(OF_LEDGER),
    "support_lot": Row(OF_LEDGER),
    "support_move": Row(MOVERS),
    "support_cancel": Row(MOVERS),
    "support_requests": Row(OF_LEDGER),
    "support_request": Row(OF_LEDGER, answer=404),
    "support_mass_grants": Row({LEAD, SUPERUSER}),
    "support_mass_grant": Row({LEAD, APPROVER, SUPERUSER}, answer=404),
    "support_mass_grant_results": Row({LEAD, APPROVER, SUPERUSER}, answer=404),
    "control_room": Row(OF_CUTOVER),
    "control_room_act": Row({OPERATOR, APPROVER, SUPERUSER}, answer=404),
    "control_room_assign": Row(OF_CUTOVER, answer=404),
    "control_room_assignment": Row(OF_CUTOVER, answer=404),
    "control_room_doubt": Row(OF_CUTOVER, answer=404),
    "control_room_month": Row(OF_CUTOVER),
    "control_room_journal": Row(OF_CUTOVER),
    "finance_roll_forward": Row(OF_FINANCE),
    "finance_roll_forward_file": Row(OF_FINANCE),
    "finance_month": Row(OF_FINANCE),
    "finance_liability": Row(OF_FINANCE),
    "finance_liability_file": Row(OF_FINANCE),
}
#: What a stranger gets where that is not the way to the login: who is not signed in cannot sign out.
FOR_STRANGERS = {"login": (200, ""), "logout": (302, "/admin/")}


@pytest.fixture
def things(member: Member, person: Callable[..., User], sign_in: Callable[[User], Browser]) -> routes.Things:
    sign_in(person(username="someone-in-the-trail"))
    return routes.Things(member)


def test_every_address_has_its_row_and_every_row_its_address() -> None:
    # Without a name are the shortcut `model/id/` to `model/id/change/`, and what matches nothing else.
    named = set(routes.names()) - {"unnamed"}

    assert named == set(TABLE)


def test_addresses_without_a_name_are_djangos_own() -> None:
    models = len(admin.site._registry)

    assert routes.names().count("unnamed") == models + 1


@pytest.mark.parametrize("who", sorted(EVERYBODY))
def test_everybody_opens_what_the_table_says(
    who: str, things: routes.Things, person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    user = (
        person(username="root", is_superuser=True)
        if who == SUPERUSER
        else person(who if who in ROLES else None)
    )
    browser = sign_in(user)
    wrong = []
    for name, row in TABLE.items():
        answer = browser.get(things.address(name))
        to_login = answer.status_code == 302 and answer["Location"].startswith("/admin/login/")
        if who not in row.open_to:
            right = answer.status_code == row.otherwise
        elif row.answer is not None:
            right = answer.status_code == row.answer
        else:
            right = answer.status_code in (200, 302) and not to_login
        if not right:
            wrong.append((name, answer.status_code))

    assert wrong == []


def test_strangers_are_sent_to_the_login_everywhere(things: routes.Things) -> None:
    wrong = []
    for name in TABLE:
        answer = Browser().get(things.address(name))
        given = (answer.status_code, answer.headers.get("Location", "").split("?")[0])
        if given != FOR_STRANGERS.get(name, (302, "/admin/login/")):
            wrong.append((name, *given))

    assert wrong == []


@pytest.mark.parametrize("values", [{"is_active": False, "is_staff": True}, {"is_staff": False}])
def test_who_is_no_active_staff_is_a_stranger(
    values: dict[str, bool], things: routes.Things, sign_in: Callable[[User], Browser]
) -> None:
    user = User.objects.create(username="gone", is_superuser=True, **values)
    browser = sign_in(user)

    for name in set(TABLE) - {"login", "logout"}:
        answer = browser.get(things.address(name))
        assert (answer.status_code, answer["Location"].startswith("/admin/login/")) == (302, True), name


def test_no_model_is_kept_past_the_trail() -> None:
    """What can be changed in the admin is written to the trail; everything else is only looked at."""
    loose = [
        model.__name__
        for model, model_admin in admin.site._registry.items()
        if not isinstance(model_admin, ReadOnlyAdmin | Audited)
    ]

    assert loose == []


def test_every_table_of_the_ledger_and_the_cutover_is_read_only_for_superusers(
    things: routes.Things, person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    browser = sign_in(person(username="root", is_superuser=True))
    kept = {"reason", "client"}
    models = [
        model._meta
        for model in admin.site._registry
        if model._meta.app_label in ("ledger", "cutover") and model._meta.model_name not in kept
    ]
    assert len(models) >= 11
    for meta in models:
        name = f"{meta.app_label}_{meta.model_name}"
        before = _all_of(meta.model)
        for page in ("add", "change", "delete"):
            answer = browser.post(things.address(f"{name}_{page}"), {"points": "99", "post": "yes"})
            assert answer.status_code == 403, (name, page)
        many = browser.post(
            things.address(f"{name}_changelist"), {"action": "delete_selected", "_selected_action": ["1"]}
        )
        assert many.status_code in (200, 302), name
        assert _all_of(meta.model) == before, name


def _all_of(model: Any) -> list[Any]:
    return list(model.objects.order_by("pk").values())
