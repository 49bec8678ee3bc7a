"""What would go wrong only when the first request comes is said when a process starts."""

from typing import Any

from django.conf import settings
from django.core import checks

from legacy_bridge import configured, sessions


@checks.register()
def legacy_adapter_loads(**_: Any) -> list[checks.CheckMessage]:
    """cutover.E001: LEGACY_ADAPTER names a class that can be made."""
    if not settings.HAS_LEGACY or not sessions.is_configured():
        return []
    try:
        configured.adapter()
    except (ImportError, TypeError) as error:
        return [
            checks.Error(
                f"The adapter of the legacy cannot be made: {error}",
                hint="LEGACY_ADAPTER is the dotted path of a subclass of LegacyAdapter.",
                id="cutover.E001",
            )
        ]
    return []
