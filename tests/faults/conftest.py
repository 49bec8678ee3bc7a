from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.legacies import KINDS, Products
from tests.legacy_bridge.conftest import _databases  # noqa: F401
from tests.tcp_proxy import Behaviour

if TYPE_CHECKING:
    from pointsystem.embedded.stack import Stack
    from tests.faults.legacies import Kind, Product


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


@pytest.fixture(scope="session")
def _products(
    request: pytest.FixtureRequest,
    _databases: Any,  # noqa: F811
    django_db_blocker: Any,
) -> Iterator[Products]:
    asked_for = {
        item.callspec.params["product"].name
        for item in request.session.items
        if "product" in getattr(getattr(item, "callspec", None), "params", {})
    }
    # Legacies are installed through the bridge, by a thread that starts the next product.
    with django_db_blocker.unblock():
        products = Products([kind for kind in KINDS if kind.name in asked_for], _databases.make)
        yield products
        products.stop()


@pytest.fixture(scope="session", params=KINDS, ids=lambda kind: kind.name)
def product(request: pytest.FixtureRequest, _products: Products) -> Iterator[Product]:
    """A whole product over a legacy of each kind, behind a proxy."""
    kind: Kind = request.param
    yield _products.get(kind)
    _products.put_away(kind)


@pytest.fixture
def quiet(product: Product) -> Iterator[None]:
    """The proxy is open before and after a test, and whatever happened, no answer was a 500."""
    product.proxy.behave(Behaviour.PASS)
    yield
    product.proxy.behave(Behaviour.PASS)
    assert product.server_errors() == []
