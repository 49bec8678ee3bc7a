from django.apps import AppConfig


class LegacyBridgeConfig(AppConfig):
    name = "legacy_bridge"
    verbose_name = "Legacy bridge"
    default_auto_field = "django.db.models.BigAutoField"
