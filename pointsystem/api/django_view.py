"""The same API for whoever comes through Django's URL conf: the test client, runserver, another server."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.views import APIView

from pointsystem.api.gateway import answer
from pointsystem.api.wsgi import headers_of


class GatewayView(APIView):
    """Django REST framework's view with a dispatch of our own: parsing, authentication and rendering are
    the gateway's, so that there is one contract whatever the way in."""

    def dispatch(self, request: HttpRequest, *arguments: Any, **keywords: Any) -> HttpResponse:
        answered = answer(request.META)
        response = HttpResponse(answered.body, status=answered.status)
        for name, value in headers_of(answered):
            response.headers[name] = value
        return response
