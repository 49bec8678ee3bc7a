"""Where the addresses of the product begin: the back office, and the REST API."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("pointsystem.api.urls")),
]
