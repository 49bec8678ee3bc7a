"""What was posted can be looked at in the admin, and by nobody be changed there."""

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger.admin import ReadOnlyAdmin
from ledger.models import Account, Entry, Lot, Operation, Reason
from tests.ledger.member import Member

READ_ONLY = sorted(
    (model for model, model_admin in admin.site._registry.items() if isinstance(model_admin, ReadOnlyAdmin)),
    key=lambda model: model.__name__,
)


@pytest.fixture
def browser(member: Member) -> Browser:
    member.earns(10, reference="order-1")
    browser = Browser()
    browser.force_login(
        User.objects.create_superuser("root-of-tests", "root@example.test", "a long passphrase 1")
    )
    return browser


def address(model: type, page: str, *arguments: Any) -> str:
    meta = model._meta  # type: ignore[attr-defined]
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=arguments)


@pytest.mark.parametrize("model", [*READ_ONLY, Reason], ids=lambda model: model.__name__)
def test_every_list_opens(browser: Browser, model: type) -> None:
    assert browser.get(address(model, "changelist")).status_code == 200


@pytest.mark.parametrize("model", [Account, Entry, Lot, Operation], ids=lambda model: model.__name__)
def test_a_row_can_be_looked_at_and_neither_changed_nor_deleted(browser: Browser, model: Any) -> None:
    row = model.objects.last()
    before = model.objects.filter(pk=row.pk).values().get()

    assert browser.get(address(model, "change", row.pk)).status_code == 200
    assert browser.post(address(model, "change", row.pk), {"points": 99}).status_code == 403
    assert browser.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert browser.get(address(model, "add")).status_code == 403
    assert model.objects.filter(pk=row.pk).values().get() == before


def test_an_account_is_found_by_the_beginning_of_its_number(browser: Browser, member: Member) -> None:
    page = browser.get(address(Account, "changelist"), {"q": member.number[:8]}).content.decode()

    assert member.number in page


def test_an_operation_is_found_by_its_id_and_by_its_reference(browser: Browser, member: Member) -> None:
    operation = Operation.objects.get(account_number=member.number)

    for text in (str(operation.id), operation.idempotency_key, "order-1"):
        page = browser.get(address(Operation, "changelist"), {"q": text}).content.decode()
        assert str(operation.id) in page
    assert (
        str(operation.id)
        not in browser.get(address(Operation, "changelist"), {"q": "no-such"}).content.decode()
    )


def test_a_reason_gets_its_next_version_and_keeps_the_old_one(browser: Browser) -> None:
    reason = Reason.objects.get(code="REVIEW")
    first = reason.policies.get()
    form = {
        "label": "Review",
        "kinds": ["earn", "adjust"],
        "is_active": "on",
        "policies-TOTAL_FORMS": "2",
        "policies-INITIAL_FORMS": "1",
        "policies-0-id": str(first.id),
        "policies-0-reason": str(reason.id),
        "policies-0-validity_days": "1",
        "policies-1-reason": str(reason.id),
        "policies-1-validity_days": "30",
        "policies-1-expiry_rounding": "none",
        "policies-1-restore": "grace",
        "policies-1-grace_days": "3",
        "policies-1-clawback": "debt",
    }

    answer = browser.post(address(Reason, "change", reason.id), form)

    assert answer.status_code == 302
    assert list(reason.policies.order_by("version").values_list("version", "validity_days", "clawback")) == [
        (1, 365, "within_balance"),
        (2, 30, "debt"),
    ]
    assert browser.post(address(Reason, "delete", reason.id), {"post": "yes"}).status_code == 403


def test_nobody_without_a_login_sees_anything(member: Member) -> None:
    answer = Browser().get(address(Account, "changelist"))

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login"))
