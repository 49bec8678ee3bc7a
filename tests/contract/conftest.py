"""The ledger by itself, in a database of its own: workers that stay up sweep what other tests leave lying."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wrapped import Wrapped


@pytest.fixture(scope="session")
def product(django_db_setup: None) -> Iterator[Wrapped]:
    product = Wrapped(adapter="", legacy_url="")
    try:
        yield product.start()
    finally:
        product.stop()


@pytest.fixture(scope="session")
def live_server_url(product: Wrapped) -> str:
    return product.url


@pytest.fixture(scope="session")
def keys(product: Wrapped) -> tuple[str, str]:
    """The keys of two clients with every scope but `operations:any`."""
    return product.make_client("contract"), product.make_client("other")
