"""What all pages of the desk share."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.template.response import TemplateResponse

from ledger import clock


def page(
    request: HttpRequest, template: str, *, title: Any, status: int = 200, **context: Any
) -> TemplateResponse:
    """A page in the frame of the admin, with times of the programme's zone."""
    everything = {
        **admin.site.each_context(request),
        "title": title,
        "zone": clock.programme_zone(),
        **context,
    }
    return TemplateResponse(request, f"admin/support/{template}", everything, status=status)


def person_of(request: HttpRequest) -> User:
    """Who is signed in: the pages are closed to anybody else. Raises TypeError."""
    if not isinstance(request.user, User):
        raise TypeError("a page of the desk without a person")
    return request.user
