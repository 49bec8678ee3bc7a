"""People of the desk, their browsers, and the forms that they send."""

import re
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import Group, User
from django.http import HttpResponse
from django.test import Client as Browser

from pointsystem.backoffice.support.models import MoveKind
from pointsystem.backoffice.support.moves import Move

_TOKEN = re.compile(r'name="token" value="([^"]+)"')


def make_person(role: str) -> User:
    user = User.objects.create_user(f"{role.replace(' ', '-')}-{uuid4().hex[:8]}", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    return user


def signed_in(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser


def text_of(answer: HttpResponse) -> str:
    """The words of a page, without its tags, and with single blanks."""
    words = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", words).replace("&#x27;", "'")


def token_of(answer: HttpResponse) -> str:
    found = _TOKEN.search(answer.content.decode())
    assert found, text_of(answer)
    return found[1]


def opened(browser: Browser, address: str) -> str:
    """Open a form; the token that it carries."""
    answer = browser.get(address)
    assert answer.status_code == 200, answer.status_code
    return token_of(answer)


def grant_of(account_number: str, points: int, *, key: UUID | None = None, **values: Any) -> Move:
    given = {"reason": "COMPENSATION", "note": "a broken parcel"} | values
    return Move(
        kind=MoveKind.GRANT, key=key or uuid4(), account_number=account_number, points=points, **given
    )


def deduct_of(account_number: str, points: int, *, key: UUID | None = None, **values: Any) -> Move:
    given = {"reason": "CORRECTION", "note": "granted twice"} | values
    return Move(
        kind=MoveKind.DEDUCT, key=key or uuid4(), account_number=account_number, points=points, **given
    )
