"""A service calls the API, another the procedures: a worker finds out, and the command tells of both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from celery import Celery

from legacy_bridge import sessions
from legacy_bridge.calling import Out, call_procedure
from tests.api.http import exchange
from tests.factories import account_number, idempotency_key
from tests.legacy_bridge.conftest import LegacyDatabase, install_reference
from tests.wrapped import Wrapped

WITHIN_SECONDS = 30.0


def wait_for(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + WITHIN_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value


def earn(url: str, key: str, account: str) -> int:
    body = json.dumps({"points": 70, "reason": "ORDER_REWARD"})
    answer = exchange(
        url,
        (
            f"POST /api/v1/accounts/{account}/earn HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Authorization: Bearer {key}\r\nIdempotency-Key: {idempotency_key()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode(),
    )
    assert answer is not None
    return answer.status


def test_a_worker_counts_and_the_command_tells(legacy_database: LegacyDatabase) -> None:
    # A database of its own: whoever is named here called, and nobody else.
    url = legacy_database("postgresql")
    install_reference()
    account = account_number()
    wrapped = Wrapped(adapter="legacy_bridge.reference.ReferenceAdapter", legacy_url=url)
    try:
        wrapped.start()
        key = wrapped.make_client("voucher")
        wrapped.make_client("billing")
        assert earn(wrapped.url, key, account) == 201
        with sessions.session() as session:
            told = [None, None, "BILLING", *(Out(),) * 6]
            assert call_procedure(session, "legacy.PR_POINT_USE", [account, "21", 30, *told])[0] == "S"

        # Celery prefers the broker that the environment of this process names.
        app = Celery(set_as_current=False)
        with app.connection_for_write(wrapped.environment["CELERY_BROKER_URL"]) as broker:
            app.send_task("cutover.tasks.count_callers", queue="migrate", connection=broker)
        wait_for(lambda: wrapped.query("SELECT 1 FROM cutover_caller_scan WHERE NOT is_behind"))
        wait_for(lambda: wrapped.query("SELECT 1 FROM ledger_client_activity"))
        found = json.loads(wrapped.manage("legacy", "callers", "--no-scan", "--json"))

        assert found["is_complete"] is True
        (line,) = found["callers"]
        assert (line["procedure"], line["caller"], line["rows"], line["points"]) == (
            "PR_POINT_USE",
            "BILLING",
            1,
            -30,
        )
        (ours,) = found["through_api"]
        assert (ours["procedure"], ours["caller"], ours["rows"], ours["points"]) == (
            "PR_POINT_EARN",
            "POINTAPI",
            1,
            70,
        )
        billing, voucher = found["clients"]
        assert billing == {"name": "billing", "last_called_at": None, "calls": 0}
        assert (voucher["name"], voucher["calls"], voucher["last_called_at"] is None) == ("voucher", 1, False)
    finally:
        wrapped.stop()
