"""Intents and routes can be looked at in the admin, and by nobody be changed there."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from cutover import face
from cutover.models import Intent, Route
from tests.factories import ClientFactory, EarnFactory, account_number


@pytest.fixture
def browser(legacy_only: Any) -> Browser:
    name = f"root-{account_number()}"
    browser = Browser()
    browser.force_login(User.objects.create_superuser(name, "root@example.test", "a long passphrase 1"))
    return browser


def test_an_intent_is_found_by_its_operation_and_by_its_account(browser: Browser) -> None:
    earn = EarnFactory(client_id=ClientFactory().id, account_number=account_number(), points=10)
    face.execute(earn)
    address = reverse("admin:cutover_intent_changelist")

    for term in (str(earn.operation_id), earn.account_number):
        page = browser.get(address, {"q": term}).content.decode()
        assert str(earn.operation_id) in page
        assert page.count("field-account_number") == 1
    assert str(earn.operation_id) not in browser.get(address, {"q": "nobody"}).content.decode()
    assert browser.get(address, {"state__exact": "in_doubt"}).status_code == 200


def test_neither_is_changed_here(browser: Browser) -> None:
    earn = EarnFactory(client_id=ClientFactory().id, account_number=account_number(), points=10)
    face.execute(earn)
    intent = Intent.objects.get(operation_id=earn.operation_id)
    for model, row in ((Intent, intent), (Route, Route.objects.get(cohort="default"))):
        name = f"admin:cutover_{model.__name__.lower()}"
        assert browser.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
        assert browser.post(reverse(f"{name}_change", args=[row.pk]), {"epoch": 9}).status_code == 403
        assert browser.post(reverse(f"{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert browser.get(reverse(f"{name}_add")).status_code == 403
