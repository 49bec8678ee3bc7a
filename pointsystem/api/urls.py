"""The API in Django's URL conf: a name for each endpoint, and the gateway for all of /api/."""

import re

from django.urls import URLPattern, path, re_path

from pointsystem.api.django_view import GatewayView
from pointsystem.api.docs import docs_page
from pointsystem.api.endpoints import ENDPOINTS

view = GatewayView.as_view()

urlpatterns: list[URLPattern] = [
    path("api/docs", docs_page, name="api-docs"),
    *(
        path(re.sub(r"\{(\w+)\}", r"<str:\1>", endpoint.path.lstrip("/")), view, name=f"api-{endpoint.name}")
        for endpoint in ENDPOINTS
    ),
    # Whatever else is asked for under /api/ is answered in the same words.
    re_path(r"^api/", view),
]
