"""Imports stay inside the fixtures: this file is read before Django is set up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.api.caller import Api


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Each test stands in a database of its own, and the process must not remember another's clients."""
    from pointsystem.api import authentication
    from pointsystem.api.views import probes

    authentication.forget()
    probes.forget_readiness()
    yield
    authentication.forget()


@pytest.fixture
def noon(db: None, settings: Any) -> datetime:
    """The simulated clock, standing at noon in Seoul on 1 March 2026."""
    from ledger import clock

    instant = datetime.fromisoformat("2026-03-01T12:00:00+09:00")
    settings.POINTS_CLOCK = "simulated"
    clock.set_simulated(instant=instant)
    return instant


@pytest.fixture
def api(noon: datetime) -> Api:
    """A client with every scope but `operations:any`, at noon."""
    from tests.api.caller import Api

    return Api()


@pytest.fixture
def account() -> str:
    from tests.factories import account_number

    return account_number()


@pytest.fixture
def nothing_is_written(noon: datetime) -> Iterator[None]:
    """Proves that the test left no operation, no entry and no waiting item."""
    from tests.api.caller import written_rows

    before = written_rows()
    yield
    assert written_rows() == before
