from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pointsystem.embedded.stack import Stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """A whole product of its own, so that what is killed here is nobody else's; durable as in production."""
    from pointsystem.embedded.stack import Stack

    with Stack.temporary(
        "faults",
        listed=False,
        stack_kind="test",
        say=lambda text: None,
        settings={"POINTS_CLOCK": "system", "POINTS_WEB_PROCESSES": "2", "LOG_LEVEL": "WARNING"},
    ) as stack:
        stack.prepare()
        stack.start_web()
        stack.start_workers()
        yield stack


@pytest.fixture(scope="module")
def api_key(stack: Stack) -> str:
    scopes = ("points:read", "points:earn", "points:spend", "points:cancel")
    arguments = [argument for scope in scopes for argument in ("--scope", scope)]
    key: str = json.loads(stack.manage("create_client", "order", *arguments, "--json"))["key"]
    return key
