"""The adapter that LEGACY_ADAPTER names, made once for this process."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from legacy_bridge.adapter import LegacyAdapter


@cache
def adapter() -> LegacyAdapter:
    """Raises ImportError for a path that names nothing, and TypeError for something that is no adapter."""
    made = import_string(settings.LEGACY_ADAPTER)()
    if not isinstance(made, LegacyAdapter):
        raise TypeError(f"LEGACY_ADAPTER names {settings.LEGACY_ADAPTER}, which is no LegacyAdapter.")
    return made
