from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CutoverConfig(AppConfig):
    name = "cutover"
    verbose_name = _("Cutover")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from cutover import checks, sentences  # noqa: F401
        from cutover.callers_command import Callers
        from ledger import told
        from legacy_bridge.reference.commands import register

        register(Callers())
        told.register(sentences=sentences.SENTENCES, words=sentences.WORDS, names=sentences.CHECKS)
        told.register_list(sentences.NOT_READY, names=sentences.CHECKS)
