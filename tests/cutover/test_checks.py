"""What web servers and workers refuse to start with."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from ledger.database import fetch_all
from legacy_bridge import configured
from pointsystem.checks import refuse_errors
from tests.cutover.conftest import STAGES, set_stage


def test_a_legacy_that_is_not_configured_before_the_cutover_is_finished(db: None) -> None:
    for stage in STAGES:
        set_stage(stage)
        with pytest.raises(ImproperlyConfigured, match=r"cutover\.E002"):
            refuse_errors()

    fetch_all("UPDATE cutover_route SET finished_at = clock_timestamp(), epoch = epoch + 1")
    refuse_errors()


@pytest.mark.parametrize("path", ["nowhere.at.all", "ledger.commands.Earn", "legacy_bridge.adapter"])
def test_an_adapter_that_cannot_be_made(legacy_only: Any, settings: Any, path: str) -> None:
    settings.LEGACY_ADAPTER = path
    configured.adapter.cache_clear()

    with pytest.raises(ImproperlyConfigured, match=r"cutover\.E001"):
        refuse_errors()
