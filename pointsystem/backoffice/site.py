"""The admin site of the back office."""

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from pointsystem.backoffice import pages


class BackOfficeSite(admin.AdminSite):
    site_header = _("Points back office")
    site_title = _("Points back office")
    index_title = _("What you can do here")
    site_url = None

    def get_urls(self) -> list[Any]:
        return [*pages.urls(wrap=self.admin_view), *super().get_urls()]
