"""A ledger with a bit of everything in it, which the owner of the tables then corrupts.

All in one transaction of the owner's role, rolled back at the end: the application's role could not
do any of it. Imports stay inside the fixtures: this file is read before Django is set up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.ledger.verification.story import Story


@pytest.fixture
def story(django_db_setup: None, django_db_blocker: Any, settings: Any) -> Iterator[Story]:
    from django.db import connection, transaction

    from ledger import policies
    from pointsystem.management.commands.migrate import as_owner
    from tests.ledger.verification.story import Story

    settings.POINTS_CLOCK = "simulated"
    with django_db_blocker.unblock(), as_owner():
        with transaction.atomic():
            policies.forget()
            story = Story.tell()
            with connection.cursor() as cursor:
                # What is deferred would keep the tables from being altered.
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield story
            transaction.set_rollback(True)
        policies.forget()
