"""Signing in: the second factor, the lockout in words, the limits of a session, and the trail of it all."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from pointsystem.backoffice.models import AuditEntry
from pointsystem.backoffice.sign_in.sessions import AUTOMATIC_REFRESH_HEADER
from tests.backoffice.conftest import PASSWORD

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
INDEX = "/admin/"
CODE = "/admin/second-factor/"
SET_UP = "/admin/second-factor/set-up/"


@pytest.fixture
def kim(person: Callable[..., User]) -> User:
    return person("support", username="kim")


@pytest.fixture
def with_device(kim: User) -> TOTPDevice:
    return TOTPDevice.objects.create(user=kim, name="authenticator", confirmed=True)


def signs_in(name: str = "kim", password: str = PASSWORD) -> Browser:
    browser = Browser()
    browser.post(LOGIN, {"username": name, "password": password, "next": INDEX})
    return browser


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits)
    totp.time = time.time() + steps * device.step
    return f"{totp.token():06d}"


def actions(name: str = "kim") -> list[str]:
    found = AuditEntry.objects.filter(subject_kind="user", subject_id=name).order_by("id")
    return list(found.values_list("action", flat=True))


def test_without_a_second_factor_the_password_is_enough(kim: User) -> None:
    assert signs_in().get(INDEX).status_code == 200
    assert actions() == ["sign_in.succeeded"]


def test_whoever_has_a_second_factor_sees_nothing_before_its_code(with_device: TOTPDevice) -> None:
    browser = signs_in()

    for address in (INDEX, reverse("admin:ledger_account_changelist"), reverse("admin:password_change")):
        answer = browser.get(address, follow=True)
        assert answer.redirect_chain[-1][0].startswith(CODE), address
        links = re.findall(r'href="([^"]+)"', answer.content.decode().split("<body")[1])
        assert {link for link in links if not link.startswith("#")} == {INDEX}, "nothing else is offered"


def test_the_code_opens_the_page_that_was_asked_for_in_a_session_of_a_new_key(
    with_device: TOTPDevice,
) -> None:
    browser = signs_in()
    before = browser.session.session_key
    wanted = reverse("admin:ledger_account_changelist")

    answer = browser.post(CODE, {"code": code_of(with_device), "next": wanted})

    assert (answer.status_code, answer["Location"]) == (302, wanted)
    assert browser.get(wanted).status_code == 200
    assert browser.session.session_key != before
    assert actions() == ["sign_in.succeeded", "sign_in.verified"]


def test_a_code_opens_one_session_only(with_device: TOTPDevice) -> None:
    code = code_of(with_device)
    assert signs_in().post(CODE, {"code": code}).status_code == 302
    other = signs_in()

    answer = other.post(CODE, {"code": code})

    assert "was used already" in answer.content.decode()
    assert other.get(INDEX).status_code == 302


def test_wrong_codes_make_the_next_one_wait(with_device: TOTPDevice) -> None:
    browser = signs_in()
    wrong = f"{(int(code_of(with_device)) + 1) % 1_000_000:06d}"
    for _time in range(2):
        browser.post(CODE, {"code": wrong})

    answer = browser.post(CODE, {"code": code_of(with_device)})

    assert "Too many wrong codes. Try again in" in answer.content.decode()
    assert browser.get(INDEX).status_code == 302
    assert "sign_in.code_refused" in actions()


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "-12345", "1" * 300])
def test_what_is_no_code_is_said_to_be_none(with_device: TOTPDevice, code: str) -> None:
    answer = signs_in().post(CODE, {"code": code})

    assert answer.status_code == 200
    assert "errorlist" in answer.content.decode()
    with_device.refresh_from_db()
    assert with_device.throttling_failure_count == 0


def test_a_code_never_leads_to_another_site(with_device: TOTPDevice) -> None:
    answer = signs_in().post(CODE, {"code": code_of(with_device), "next": "https://elsewhere.example/"})

    assert answer["Location"] == INDEX


def test_an_authenticator_is_set_up_with_its_first_code(kim: User) -> None:
    browser = signs_in()
    page = browser.get(SET_UP).content.decode()
    device = TOTPDevice.objects.get(user=kim)
    assert not device.confirmed
    assert "<svg" in page
    assert browser.get(INDEX).status_code == 200, "an unconfirmed authenticator asks nobody"

    answer = browser.post(SET_UP, {"code": code_of(device)})

    assert answer.status_code == 302
    assert browser.get(INDEX).status_code == 200
    device.refresh_from_db()
    assert device.confirmed
    assert signs_in().get(INDEX).status_code == 302, "from now on the code is asked for"
    assert "second_factor.set_up" in actions()


def test_the_password_alone_puts_no_other_authenticator_in_its_place(with_device: TOTPDevice) -> None:
    browser = signs_in()

    answer = browser.get(SET_UP)
    posted = browser.post(SET_UP, {"code": "123456"})

    assert answer["Location"].startswith(CODE)
    assert posted["Location"].startswith(CODE)
    assert TOTPDevice.objects.filter(user=with_device.user).count() == 1


def test_a_new_authenticator_ends_the_old_one(with_device: TOTPDevice) -> None:
    browser = signs_in()
    browser.post(CODE, {"code": code_of(with_device)})
    browser.get(SET_UP)
    new = TOTPDevice.objects.get(user=with_device.user, confirmed=False)

    browser.post(SET_UP, {"code": code_of(new)})

    assert list(TOTPDevice.objects.filter(user=with_device.user)) == [new]
    assert browser.get(INDEX).status_code == 200


def test_where_it_is_required_nobody_comes_in_without(kim: User, settings: Any) -> None:
    settings.POINTS_REQUIRE_TOTP = True
    browser = signs_in()

    assert browser.get(INDEX, follow=True).redirect_chain[-1][0].startswith(SET_UP)
    browser.post(SET_UP, {"code": code_of(TOTPDevice.objects.get(user=kim))})
    assert browser.get(INDEX).status_code == 200


def test_superusers_are_asked_too(settings: Any, person: Callable[..., User]) -> None:
    settings.POINTS_REQUIRE_TOTP = True
    person(username="root", is_superuser=True)

    assert signs_in("root").get(INDEX).status_code == 302


@pytest.mark.parametrize("address", [CODE, SET_UP])
def test_strangers_and_customers_are_sent_to_the_login(kim: User, address: str) -> None:
    User.objects.create_user("customer", password=PASSWORD)
    customer = Browser()
    customer.force_login(User.objects.get(username="customer"))

    for browser in (Browser(), customer):
        assert browser.get(address)["Location"].startswith(LOGIN)
        assert browser.post(address, {"code": "123456"})["Location"].startswith(LOGIN)
    assert not TOTPDevice.objects.exists()


def test_a_lost_authenticator_is_reset_by_a_superuser_with_a_reason(
    with_device: TOTPDevice, person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    root = person(username="root", is_superuser=True)
    address = reverse("admin:auth_user_reset_second_factor", args=[with_device.user_id])
    assert sign_in(root).get(address).status_code == 200
    assert TOTPDevice.objects.exists(), "asking changes nothing"

    sign_in(root).post(address, {"audit_reason": "lost phone"})

    assert not TOTPDevice.objects.exists()
    entry = AuditEntry.objects.get(action="second_factor.removed")
    assert (entry.person, entry.subject_id, entry.reason) == (root, "kim", "lost phone")


def test_the_command_resets_it_when_no_superuser_can_sign_in(with_device: TOTPDevice, capsys: Any) -> None:
    call_command("reset_second_factor", "kim", "--reason", "lost phone")

    assert not TOTPDevice.objects.exists()
    assert capsys.readouterr().out == "kim has no authenticator any more.\n"
    assert AuditEntry.objects.get(action="second_factor.removed").person is None
    with pytest.raises(CommandError) as refused:
        call_command("reset_second_factor", "nobody", "--reason", "x")
    assert refused.value.returncode == 2


# --- Lockout ----------------------------------------------------------------------------------------------


def test_a_lockout_says_in_words_what_happened(kim: User) -> None:
    browser = Browser()
    for _time in range(5):
        answer = browser.post(LOGIN, {"username": "kim", "password": "wrong"})

    page = answer.content.decode()
    assert answer.status_code == 429
    assert "The password was wrong 5 times" in page
    assert "for 15 minutes" in page
    assert answer.headers["Retry-After"] == "900"
    assert sorted(actions()) == ["sign_in.failed"] * 5 + ["sign_in.locked_out"]


def test_attempts_on_a_locked_login_add_nothing_to_the_trail(kim: User) -> None:
    browser = Browser()
    for _time in range(5):
        browser.post(LOGIN, {"username": "kim", "password": "wrong"})
    before = actions()

    for _time in range(3):
        browser.post(LOGIN, {"username": "kim", "password": "wrong"})

    assert actions() == before


def test_what_was_typed_as_a_name_is_not_kept_when_it_is_none(db: None) -> None:
    Browser().post(LOGIN, {"username": "my secret password", "password": "x"})

    assert not AuditEntry.objects.exists()


def test_a_superuser_unlocks_a_login_before_its_time(
    kim: User, person: Callable[..., User], sign_in: Callable[[User], Browser]
) -> None:
    browser = Browser()
    for _time in range(5):
        browser.post(LOGIN, {"username": "kim", "password": "wrong"})
    assert browser.post(LOGIN, {"username": "kim", "password": PASSWORD}).status_code == 429

    root = person(username="root", is_superuser=True)
    sign_in(root).post(reverse("admin:auth_user_unlock", args=[kim.id]), {"audit_reason": "asked by phone"})

    assert browser.post(LOGIN, {"username": "kim", "password": PASSWORD}).status_code == 302
    entry = AuditEntry.objects.get(action="sign_in.unlocked")
    assert (entry.person, entry.reason) == (root, "asked by phone")


# --- Sessions ---------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel("2026-03-01T03:00:00Z", tick=False) as traveller:
        yield traveller


def test_a_session_ends_when_nobody_uses_it(kim: User, clock: time_machine.Traveller) -> None:
    browser = signs_in()
    clock.shift(29 * 60)
    assert browser.get(INDEX).status_code == 200
    clock.shift(29 * 60)
    assert browser.get(INDEX).status_code == 200, "using it keeps it open"
    clock.shift(30 * 60)

    answer = browser.get(INDEX, follow=True)

    assert answer.redirect_chain[-1][0].startswith(LOGIN)
    assert "nothing was done for a while" in answer.content.decode()
    assert actions()[-1] == "sign_in.ended"


def test_a_session_ends_after_its_lifetime_however_it_is_used(
    kim: User, clock: time_machine.Traveller
) -> None:
    browser = signs_in()
    for _time in range(36):
        clock.shift(20 * 60 - 1)
        assert browser.get(INDEX).status_code == 200
    clock.shift(36)

    assert browser.get(INDEX).status_code == 302


def test_a_page_that_refreshes_itself_keeps_no_session_open(kim: User, clock: time_machine.Traveller) -> None:
    browser = signs_in()
    for _time in range(3):
        clock.shift(9 * 60)
        assert browser.get(INDEX, headers={AUTOMATIC_REFRESH_HEADER: "1"}).status_code == 200
    clock.shift(3 * 60)

    assert browser.get(INDEX, headers={AUTOMATIC_REFRESH_HEADER: "1"}).status_code == 302


def test_the_session_cookie_is_for_this_site_and_no_script(kim: User) -> None:
    cookie = signs_in().cookies["sessionid"]

    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_every_page_has_an_id_that_the_trail_keeps(kim: User) -> None:
    browser = Browser()
    answer = browser.post(
        LOGIN, {"username": "kim", "password": PASSWORD}, headers={"X-Request-ID": "request-7"}
    )

    assert answer.headers["X-Request-ID"] == "request-7"
    assert AuditEntry.objects.get(action="sign_in.succeeded").request_id == "request-7"
    assert len(browser.get(LOGIN, headers={"X-Request-ID": "bad\tid"}).headers["X-Request-ID"]) == 36
