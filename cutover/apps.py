from django.apps import AppConfig


class CutoverConfig(AppConfig):
    name = "cutover"
    verbose_name = "Cutover"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from cutover import checks  # noqa: F401
        from cutover.callers_command import Callers
        from legacy_bridge.reference.commands import register

        register(Callers())
