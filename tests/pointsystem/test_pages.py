"""The pages keep the protection that the REST API does without."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

pytestmark = pytest.mark.django_db
SIGN_IN = "/admin/login/"


def test_a_form_without_csrf_token_is_refused() -> None:
    answer = Client(enforce_csrf_checks=True).post(SIGN_IN, {"username": "a", "password": "b"})
    assert answer.status_code == 403


def test_pages_carry_a_content_security_policy_without_inline_scripts() -> None:
    policy = Client().get(SIGN_IN).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "unsafe-eval" not in policy


def test_an_unknown_host_is_refused() -> None:
    assert Client().get(SIGN_IN, headers={"host": "elsewhere.example"}).status_code == 400


def test_five_wrong_passwords_lock_the_account_and_no_header_opens_it() -> None:
    get_user_model().objects.create_superuser(username="operator", password="the right password 1")
    client = Client()
    for attempt in range(5):
        client.post(
            SIGN_IN,
            {"username": "operator", "password": "wrong"},
            headers={"x-forwarded-for": f"203.0.113.{attempt}"},
        )
    answer = client.post(
        SIGN_IN,
        {"username": "operator", "password": "the right password 1"},
        headers={"x-forwarded-for": "203.0.113.99"},
    )
    assert answer.status_code == 429
    assert "_auth_user_id" not in client.session


def test_static_files_are_served_without_a_web_server_in_front() -> None:
    answer = Client().get("/static/admin/css/base.css")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")
