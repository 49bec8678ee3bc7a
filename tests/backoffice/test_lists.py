"""No list of the admin counts a table, or reads a big one from end to end."""

import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ledger import clock
from pointsystem.backoffice.finance import months
from tests.backoffice.finance import big
from tests.ledger.member import Member

#: What grows with what is done, and not with what is set up.
BIG = (
    *(f"ledger_{name}" for name in ("account", "operation", "entry", "lot", "allocation", "open_lot")),
    *(f"ledger_{name}" for name in ("debt", "account_status", "inbox")),
    *(f"cutover_{name}" for name in ("intent", "message", "mismatch")),
    "backoffice_audit_entry",
)
LISTS = sorted(
    f"{model._meta.app_label}_{model._meta.model_name}_changelist"
    for model in admin.site._registry
    if model._meta.app_label in ("ledger", "cutover", "backoffice")
)
FINANCE = ("admin:finance_roll_forward", "admin:finance_liability", "admin:finance_roll_forward_file")


@pytest.fixture
def root(person: Callable[..., User], sign_in: Callable[[User], Browser]) -> Browser:
    return sign_in(person(username="root", is_superuser=True))


def wrongs(statement: str) -> list[str]:
    """What a statement counts or scans, whatever the planner could do at all."""
    if not statement.startswith("SELECT") or not any(f'"{table}"' in statement for table in BIG):
        return []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + statement.replace("%", "%%"), [])
        plan = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("SET LOCAL enable_seqscan = on")
    found = [f"scans {table}" for table in BIG if f"Seq Scan on {table}" in plan]
    if "COUNT(" in statement and "LIMIT" not in statement:
        found.append("counts")
    return [f"{each}: {statement}" for each in found]


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_read_by_an_index_and_counts_no_table(name: str, root: Browser, member: Member) -> None:
    earned = member.earns(10)
    address = reverse(f"admin:{name}")
    found = []
    for query in ("", f"?q={member.number}", f"?q={earned.id}", "?p=2"):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            answer = root.get(address + query)
        assert answer.status_code in (200, 302), query
        found += [wrong for each in captured for wrong in wrongs(each["sql"])]

    assert found == []


def test_the_check_finds_a_count_and_a_scan(db: None) -> None:
    assert wrongs('SELECT COUNT(*) FROM "ledger_entry"')[-1].startswith("counts")
    assert wrongs('SELECT * FROM "ledger_entry" WHERE points = 3')[0].startswith("scans ledger_entry")
    assert wrongs('SELECT * FROM "ledger_entry" ORDER BY id DESC LIMIT 1') == []


def test_sums_by_month_read_what_was_posted_since_by_an_index(db: None) -> None:
    window = {"zone": "Asia/Seoul", "since": "2026-03-01", "before": "2026-04-01"}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + months._MOVED, window)
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "Bitmap Index Scan on entry_by_posting" in plan
    assert "Seq Scan on ledger_" not in plan


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("POINTS_BIG_TABLES"), reason="POINTS_BIG_TABLES=1 fills big tables")
def test_lists_and_figures_answer_over_a_million_entries(root: Browser, noon: datetime) -> None:
    big.fill(accounts=100_000)
    began = time.monotonic()
    months.bring_forward(margin=timedelta(0))
    took = {"first sums": time.monotonic() - began}
    month = reverse("admin:finance_month", args=["2026-01"])
    owed = reverse("admin:finance_liability")
    addresses = [reverse(f"admin:{name}") for name in LISTS] + [reverse(name) for name in FINANCE]
    for address in (*addresses, month, f"{owed}?day=2025-12-31"):
        began = time.monotonic()
        assert root.get(address).status_code in (200, 302)
        took[address] = time.monotonic() - began
    print("\n".join(f"{seconds:7.2f} s  {address}" for address, seconds in took.items()))

    assert clock.now() == noon
    finance = {address: seconds for address, seconds in took.items() if "/finance/" in address}
    assert max(seconds for address, seconds in took.items() if address not in finance) < 20
    assert [address for address in addresses if "/finance/" not in address and took[address] > 1] == []
    assert [address for address, seconds in finance.items() if seconds > 15] == []
    page = root.get(month).content.decode()
    assert "It ties" in page
    assert "9,000,000" in page
