from django.apps import AppConfig


class PointSystemConfig(AppConfig):
    name = "pointsystem"
    verbose_name = "Point system"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from pointsystem import checks  # noqa: F401  (registers the system checks)
