from __future__ import annotations

from typing import Any

import pytest

from tests.cutover.conftest import at_own_database, legacy_only, own_database  # noqa: F401
from tests.legacy_bridge.conftest import _databases, legacy_database  # noqa: F401


@pytest.fixture
def legacy(legacy_only: Any) -> Any:  # noqa: F811
    return legacy_only
