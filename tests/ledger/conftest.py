"""Imports stay inside the fixtures: this file is read before Django is set up."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.ledger.member import Member


@pytest.fixture
def noon(db: None, settings: Any) -> datetime:
    """The simulated clock, standing at noon in Seoul on 1 March 2026."""
    from ledger import clock
    from tests.ledger.member import NOON

    settings.POINTS_CLOCK = "simulated"
    clock.set_simulated(instant=NOON)
    return NOON


@pytest.fixture
def member(noon: datetime) -> Member:
    from tests.ledger.member import Member

    return Member()
