from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def legacy(legacy_only: Any) -> Any:
    """The reference legacy, which decides."""
    return legacy_only
