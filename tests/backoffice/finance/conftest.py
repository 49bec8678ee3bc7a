"""Finance sums whatever the ledger holds: these tests have one of their own, which is empty."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cutover.conftest import migrated_database


@pytest.fixture(scope="package", autouse=True)
def ledger_of_its_own(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    from django.db import connections

    database = connections.databases["default"]
    before = database["NAME"]
    made = migrated_database("finance")
    with closing(made), django_db_blocker.unblock():
        urls = next(made)
        connections["default"].close()
        database["NAME"] = urlsplit(urls["DATABASE_URL"]).path.lstrip("/")
        yield
        connections["default"].close()
        database["NAME"] = before
        next(made, None)
