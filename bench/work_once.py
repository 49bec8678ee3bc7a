"""Work that has an end, done in a process of its own with the product's own settings."""

import os
import time
from typing import Any

_REFRESH_CHUNK = 500
_LONGEST_WAIT_SECONDS = 300.0


def _set_up() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "pointsystem.settings"
    import django

    django.setup()


def expire() -> dict[str, Any]:
    """The product's own run: set-based, in batches."""
    _set_up()
    from ledger.expiry import expire_points

    started = time.perf_counter()
    run = expire_points()
    return {"lots": run.lots, "accounts": run.accounts, "seconds": time.perf_counter() - started}


def expire_each() -> dict[str, Any]:
    """The other side: the same statement for one account a transaction, of the accounts that are due."""
    _set_up()
    from django.db import transaction

    from ledger import clock, expiry
    from ledger.database import fetch_all

    now = clock.now()
    accounts = fetch_all(
        "SELECT DISTINCT account_id FROM ledger_open_lot WHERE expires_at <= %s LIMIT %s",
        [now, int(os.environ["BENCH_ACCOUNTS"])],
    )
    run = expiry.ExpiryRun()
    started = time.perf_counter()
    for (account_id,) in accounts:
        with transaction.atomic():
            locked = fetch_all(expiry._LOCK_BATCH, [[account_id]])
            expiry._expire_batch([row[0] for row in locked], as_of=now, now=now, run=run)
    return {"lots": run.lots, "accounts": run.accounts, "seconds": time.perf_counter() - started}


def _due() -> list[int]:
    from ledger.database import fetch_all

    return [row[0] for row in fetch_all("SELECT account_id FROM ledger_stale_balance ORDER BY 1", [])]


def _left() -> int:
    from ledger.database import fetch_all

    return int(fetch_all("SELECT count(*) FROM ledger_stale_balance")[0][0])


def refresh() -> dict[str, Any]:
    """The hand loop: the product's own reads and writes by chunks, in this process and without Celery."""
    _set_up()
    from ledger import balances

    due = _due()
    started = time.perf_counter()
    for first in range(0, len(due), _REFRESH_CHUNK):
        balances.refresh(account_ids=due[first : first + _REFRESH_CHUNK])
    return {"accounts": len(due), "left": len(_due()), "seconds": time.perf_counter() - started}


def refresh_by_celery() -> dict[str, Any]:
    """The same through Celery: messages as the doorbell sends them, until no account is marked."""
    _set_up()
    from celery import current_app

    import pointsystem.celery  # noqa: F401

    due = _due()
    started = time.perf_counter()
    for first in range(0, len(due), _REFRESH_CHUNK):
        current_app.send_task(
            "ledger.tasks.refresh_balances",
            kwargs={"account_ids": due[first : first + _REFRESH_CHUNK]},
            queue="refresh",
            ignore_result=True,
        )
    left = len(due)
    while left and time.perf_counter() - started < _LONGEST_WAIT_SECONDS:
        time.sleep(0.02)
        left = _left()
    return {"accounts": len(due), "left": left, "seconds": time.perf_counter() - started}


def balance() -> dict[str, Any]:
    """Reads of one account's balance from PostgreSQL, one after the other: their median in milliseconds."""
    _set_up()
    import statistics

    from ledger import queries

    number, deadline = os.environ["BENCH_ACCOUNT"], time.perf_counter() + float(os.environ["BENCH_SECONDS"])
    latencies = []
    before = time.perf_counter()
    while before < deadline:
        queries.balance(account_number=number)
        after = time.perf_counter()
        latencies.append((after - before) * 1000)
        before = after
    return {
        "count": len(latencies),
        "p50": statistics.median(latencies),
        "p99": sorted(latencies)[int(len(latencies) * 0.99)],
        "seconds": float(os.environ["BENCH_SECONDS"]),
    }
