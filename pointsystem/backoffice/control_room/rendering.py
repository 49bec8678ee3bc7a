"""What all pages of the control room share."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from cutover.models import DEFAULT_COHORT
from ledger import clock


def page(request: HttpRequest, template: str, *, title: Any, status: int = 200, **more: Any) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": title,
        "zone": clock.programme_zone(),
        **more,
    }
    return TemplateResponse(request, f"admin/control_room/{template}", context, status=status)


def asked_cohort(request: HttpRequest) -> str:
    return request.GET.get("cohort", "") or DEFAULT_COHORT


def address_of(cohort: str) -> str:
    return f"{reverse('admin:control_room')}?{urlencode({'cohort': cohort})}"
