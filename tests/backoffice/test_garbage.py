"""Whatever is sent to the back office, the answer is a page and never a failure of ours (5xx)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Browser

from tests.backoffice import routes
from tests.backoffice.test_permissions import TABLE
from tests.ledger.member import Member

GARBAGE = (
    "\x00",
    "a\x00b",
    "x" * 10_000,
    "-1",
    "abc",
    "9" * 40,
    "' OR 1=1 --%s{0}",
    "é한\U0001f4a9\u202e",
    "1e999",
    "NaN",
    "2026-13-45",
    "0000-00",
    "9999-12-31",
)
#: What a page reads from its address.
_OF_LISTS = ("p", "q", "o", "all", "id__exact", "_facets", "unknown")
PARAMETERS = {
    "support_search": ("q",),
    "support_account": ("lots", "cursor", "older", "beside", "after"),
    "support_operation": ("older", "cursor"),
    "support_lot": ("after", "older"),
    "support_requests": ("before", "show"),
    "finance_liability": ("day",),
    "finance_liability_file": ("day",),
    "cutover_callerscan_changelist": ("days",),
    "cutover_mismatch_changelist": ("resolved_at__isempty", "difference__exact"),
    "ledger_operation_changelist": ("kind__exact", "state__exact"),
    "auth_user_changelist": ("groups__id__exact", "is_active__exact"),
    "backoffice_auditentry_changelist": ("person", "action", "subject_kind", "days"),
    "backoffice_auditentry_export": ("person", "action", "subject_kind", "days", "q"),
    "autocomplete": ("app_label", "model_name", "field_name", "term", "page"),
    "login": ("next",),
    "second_factor": ("next",),
    "index": ("next",),
}
FIELDS = [
    "points",
    "reason",
    "note",
    "reference",
    "token",
    "step",
    "expiry",
    "expires_on",
    "to_account_number",
    "audit_reason",
    "once",
    "name",
    "scopes",
    "requests_per_minute",
    "overlap_hours",
    "username",
    "password",
    "old_password",
    "new_password1",
    "new_password2",
    "password1",
    "password2",
    "usable_password",
    "groups",
    "first_name",
    "last_name",
    "email",
    "is_active",
    "permissions",
    "code",
    "label",
    "kinds",
    "decision",
    "row_id",
    "key",
    "digest",
    "override",
    "accounts",
    "percent",
    "to",
    "minutes",
    "expected_epoch",
    "action",
    "_selected_action",
    "post",
    "index",
    "select_across",
    "policies-TOTAL_FORMS",
    "policies-",
    "INITIAL_FORMS",
    "policies-0-validity_days",
    "policies-0-grace_days",
    "policies-0-id",
    "csrfmiddlewaretoken",
]
#: Leaving ends the sign-in that the rest needs.
_ENDS = {"logout"}


@pytest.fixture
def browser(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    opened = sign_in(person(username="root", is_superuser=True))
    opened.raise_request_exception = False
    return opened


def failures(answers: Iterator[tuple[str, Any]]) -> list[str]:
    return [f"{what}: {answer.status_code}" for what, answer in answers if answer.status_code >= 500]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: ascii(value[:12]))
def test_in_every_query_parameter(garbage: str, member: Member, browser: Browser) -> None:
    things = routes.Things(member)

    def answers() -> Iterator[tuple[str, Any]]:
        for name in sorted(set(TABLE) - _ENDS):
            of_list = _OF_LISTS if name.endswith("_changelist") else ()
            for parameter in (*of_list, *PARAMETERS.get(name, ())):
                yield f"{name} {parameter}", browser.get(things.address(name), {parameter: garbage})

    assert failures(answers()) == []


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: ascii(value[:12]))
def test_in_every_place_of_an_address(garbage: str, browser: Browser) -> None:
    def answers() -> Iterator[tuple[str, Any]]:
        for pattern in routes._patterns(admin.site.get_urls()):
            route = str(pattern.pattern)
            for name in pattern.pattern.converters:  # type: ignore[attr-defined]
                place = next(part for part in route.split("/") if f"{name}>" in part)
                address = f"/admin/{route.replace(place, quote(garbage, safe=''))}"
                yield address[:80], browser.get(address)
        for model in admin.site._registry:
            base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
            for page in ("change", "delete", "history"):
                yield f"{base}{page}", browser.get(f"{base}{quote(garbage, safe='')}/{page}/")
        for kind in ("grant", garbage):
            address = f"/admin/support/accounts/{quote(garbage, safe='')}/{quote(kind, safe='')}/"
            yield address[:80], browser.get(address)

    assert failures(answers()) == []


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda value: ascii(value[:12]))
def test_in_every_field_of_a_form(garbage: str, member: Member, browser: Browser) -> None:
    things = routes.Things(member)

    def answers() -> Iterator[tuple[str, Any]]:
        for name in sorted(set(TABLE) - _ENDS):
            address = things.address(name)
            yield name, browser.post(address, dict.fromkeys(FIELDS, garbage))
            known = {"step": "preview", "policies-TOTAL_FORMS": "1", "policies-INITIAL_FORMS": "0"}
            yield f"{name} preview", browser.post(address, {**dict.fromkeys(FIELDS, garbage), **known})

    assert failures(answers()) == []
