"""The ledger decides, and the reference legacy follows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cutover.conftest import set_stage


@pytest.fixture
def mine(legacy_only: Any) -> dict[str, Any]:
    """An account and a client of the test's own, while the ledger decides."""
    from tests.factories import ClientFactory, account_number

    set_stage("NEW_FIRST")
    return {"client_id": ClientFactory().id, "account_number": account_number()}
