from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class BackOfficeAdminConfig(AdminConfig):
    """Django's admin with our site in place of its own: sign-in, landing page, and a grouped list."""

    default_site = "pointsystem.backoffice.site.BackOfficeSite"


class BackOfficeConfig(AppConfig):
    name = "pointsystem.backoffice"
    label = "backoffice"
    verbose_name = _("People")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from pointsystem.backoffice import roles
        from pointsystem.backoffice.sign_in import events

        # The permissions of all apps before this one exist by then: the order of INSTALLED_APPS.
        post_migrate.connect(roles.settle_after_migrate, sender=self, dispatch_uid="backoffice.roles")
        events.connect()
