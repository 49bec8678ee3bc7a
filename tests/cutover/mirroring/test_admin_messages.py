"""Parked messages in the admin: what failed is shown, and sent again or skipped once it was confirmed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from cutover import face
from cutover.models import MirrorMessage
from legacy_bridge import errors
from tests.cutover.legacy_calls import instead_of_next_give, rows_of
from tests.cutover.mirroring.telling import message_of, states_of, tell
from tests.factories import EarnFactory, account_number


@pytest.fixture
def browser(mine: dict[str, Any]) -> Browser:
    name = f"root-{account_number()}"
    browser = Browser()
    browser.force_login(User.objects.create_superuser(name, "root@example.test", "a long passphrase 1"))
    return browser


@pytest.fixture
def parked(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> MirrorMessage:
    def refuses(*_: Any) -> Any:
        raise errors.NotRepresentable("The legacy has no code for the reason.")

    earn = face.execute(EarnFactory(**mine, points=100)).operation
    instead_of_next_give(monkeypatch, refuses)
    tell(mine["account_number"])
    return message_of(earn.id)


def act(browser: Browser, message: MirrorMessage, action: str, **more: str) -> Any:
    address = reverse("admin:cutover_mirrormessage_changelist")
    return browser.post(address, {"action": action, "_selected_action": [message.id], **more})


def test_what_would_be_sent_is_shown_before_it_is_sent_again(browser: Browser, parked: MirrorMessage) -> None:
    shown = act(browser, parked, "send_again")

    assert shown.status_code == 200
    assert "no code for the reason" in shown.content.decode()
    assert states_of(parked.account_number) == ["parked"]
    assert act(browser, parked, "send_again", confirmed="yes").status_code == 302
    assert states_of(parked.account_number) == ["waiting"]
    tell(parked.account_number)
    assert [points for _, points, _ in rows_of(parked.account_number)] == [100]


def test_nothing_is_skipped_without_a_reason(browser: Browser, parked: MirrorMessage) -> None:
    refused = act(browser, parked, "skip", confirmed="yes", reason=" ")

    assert "Say why" in refused.content.decode()
    assert states_of(parked.account_number) == ["parked"]
    assert act(browser, parked, "skip", confirmed="yes", reason="by hand").status_code == 302
    assert states_of(parked.account_number) == ["skipped"]


def test_who_may_only_look_can_do_neither(mine: dict[str, Any], parked: MirrorMessage) -> None:
    from django.contrib.auth.models import Permission

    user = User.objects.create_user(f"auditor-{account_number()}", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_mirrormessage"))
    browser = Browser()
    browser.force_login(user)
    address = reverse("admin:cutover_mirrormessage_changelist")

    page = browser.get(address, {"q": parked.account_number})
    for action in ("send_again", "skip"):
        act(browser, parked, action, confirmed="yes", reason="by hand")

    assert page.status_code == 200
    assert str(parked.operation_id) in page.content.decode()
    assert states_of(parked.account_number) == ["parked"]
