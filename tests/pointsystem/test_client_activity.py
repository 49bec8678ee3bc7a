"""Per client and operation: when it last called, and how much; durable, and cheap for whoever calls."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ledger import client_activity
from ledger.clients import create_client
from ledger.models import Client, ClientActivity, ClientActivityDay, Scope
from pointsystem.embedded.stack import Processes
from tests.factories import ClientFactory, account_number, idempotency_key

WRITTEN_WITHIN_SECONDS = 15.0


def ask(url: str, key: str, method: str, path: str, body: Any = None, idempotency: str = "") -> int:
    """The status of one request over HTTP."""
    headers = {"Authorization": f"Bearer {key}"}
    if body is not None:
        headers |= {"Content-Type": "application/json", "Idempotency-Key": idempotency or idempotency_key()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def new_client() -> tuple[Client, str]:
    client = ClientFactory()
    scopes = [scope for scope in Scope.values if scope != Scope.CANCEL]
    return client, create_client(name=client.name, scopes=scopes).key


def written(client: Client) -> dict[str, tuple[int, int, int | None]]:
    """Calls, refused and points, by operation."""
    rows = ClientActivity.objects.filter(client=client)
    return {row.operation: (row.calls, row.refused, row.points) for row in rows}


def wait_until_written(client: Client, expected: dict[str, tuple[int, int, int | None]]) -> None:
    deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
    while written(client) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    assert written(client) == expected


def use(url: str, key: str) -> dict[str, tuple[int, int, int | None]]:
    """Call several operations, some in vain; what must be counted of it."""
    account = f"/api/v1/accounts/{account_number()}"
    once = idempotency_key()
    earn = {"points": 100, "reason": "ORDER_REWARD"}
    spend = {"points": 30, "reason": "ORDER_PAYMENT"}
    assert ask(url, key, "POST", f"{account}/earn", earn, once) == 201
    assert ask(url, key, "POST", f"{account}/earn", earn, once) == 201
    assert ask(url, key, "POST", f"{account}/spend", spend) == 201
    assert ask(url, key, "POST", f"{account}/spend", {**spend, "points": 1000}) == 422
    assert [ask(url, key, "GET", f"{account}/balance") for _ in range(5)] == [200] * 5
    assert ask(url, key, "POST", f"/api/v1/operations/{idempotency_key()}/cancel", {}) == 403
    assert ask(url, key, "GET", "/api/v1/no-such-address") == 404
    return {
        # What was answered again moved nothing.
        "earn": (2, 0, 100),
        "spend": (2, 1, 30),
        "balance": (5, 0, None),
        # Refused before its endpoint was reached, like every address that is not there.
        "none": (2, 2, None),
    }


def test_calls_are_written_within_seconds_by_whichever_process_served_them(
    committed_db: None, live_server_url: str
) -> None:
    client, key = new_client()
    before = datetime.now(UTC)

    expected = use(live_server_url, key)

    wait_until_written(client, expected)
    for row in client_activity.activities().filter(client=client):
        assert before <= row.last_called_at <= datetime.now(UTC)
        # Both are the row's calls, unless midnight came by.
        assert row.calls_7_days == row.calls  # type: ignore[attr-defined]
    days = ClientActivityDay.objects.filter(client=client)
    assert sum(day.calls for day in days) == 11
    assert {day.day for day in days} <= {client_activity.today(), client_activity.today() - timedelta(days=1)}


def test_what_a_server_counted_is_written_when_it_ends(committed_db: None, processes: Processes) -> None:
    web, url = processes.start_web()
    client, key = new_client()
    # The second lot of calls comes right after the first was written: nothing but the end writes it.
    expected = use(url, key)
    wait_until_written(client, expected)
    assert ask(url, key, "GET", "/api/v1/accounts/a/lots") == 200

    processes._supervisor.remove(web)

    wait_until_written(client, {**expected, "lots": (1, 0, None)})


@pytest.fixture
def counted(db: None) -> Client:
    """A client that earned three times (one refused) and read once, in this process."""
    client_activity.write_now()
    client = ClientFactory()
    for points, is_refused in ((10, False), (20, False), (0, True)):
        client_activity.count(client_id=client.id, operation="earn", is_refused=is_refused, points=points)
    client_activity.count(client_id=client.id, operation="balance", is_refused=False, points=None)
    client_activity.write_now()
    return client


def test_counts_are_added_to_those_of_before(counted: Client) -> None:
    client_activity.count(client_id=counted.id, operation="earn", is_refused=False, points=5)
    client_activity.write_now()
    client_activity.write_now()

    assert written(counted) == {"earn": (4, 1, 35), "balance": (1, 0, None)}


def test_days_of_before_are_in_the_total_only(counted: Client) -> None:
    day = client_activity.today()
    for days_ago, calls in ((1, 7), (6, 20), (7, 100)):
        ClientActivityDay.objects.create(
            client=counted, operation="balance", day=day - timedelta(days=days_ago), calls=calls, refused=0
        )
    row = client_activity.activities().get(client=counted, operation="balance")

    assert (row.calls_today, row.calls_7_days) == (1, 28)  # type: ignore[attr-defined]


def test_a_client_that_is_not_there_keeps_no_other_from_being_counted(counted: Client) -> None:
    client_activity.count(client_id=2_000_000_000, operation="earn", is_refused=False, points=5)
    client_activity.count(client_id=counted.id, operation="lots", is_refused=False, points=None)
    client_activity.write_now()

    assert written(counted)["lots"] == (1, 0, None)
    assert not ClientActivity.objects.filter(client_id=2_000_000_000).exists()


def test_what_could_not_be_written_is_kept(counted: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client_activity.count(client_id=counted.id, operation="lots", is_refused=False, points=None)
    with monkeypatch.context() as patched:
        patched.setattr(client_activity, "_WRITE", "SELECT 1 / 0, %s::text")
        with pytest.raises(DatabaseError), transaction.atomic():
            client_activity.write_now()
    client_activity.write_now()

    assert written(counted)["lots"] == (1, 0, None)


# --- shown ----------------------------------------------------------------------------------------------
def test_the_command_tells_it_as_json(counted: Client) -> None:
    out = StringIO()
    call_command("client_activity", "--client", counted.name, "--json", stdout=out)

    told = json.loads(out.getvalue())
    assert told["never"] == []
    balance, earn = told["activities"]
    assert (balance["operation"], balance["calls"], balance["points"]) == ("balance", 1, None)
    assert datetime.fromisoformat(earn.pop("last_called_at")) <= datetime.now(UTC)
    assert earn == {
        "client": counted.name,
        "operation": "earn",
        "calls_today": 3,
        "calls_7_days": 3,
        "calls": 3,
        "refused": 1,
        "points": 30,
    }


def test_the_command_tells_it_as_text_and_names_who_never_called(counted: Client) -> None:
    silent = ClientFactory()
    out = StringIO()
    call_command("client_activity", stdout=out)

    lines = out.getvalue().splitlines()
    head = "CLIENT OPERATION LAST CALL TODAY 7 DAYS CALLS REFUSED POINTS"
    assert " ".join(lines[0].split()) == head
    (balance,) = [line.split() for line in lines if line.startswith(counted.name) and "balance" in line]
    assert balance[4:] == ["1", "1", "1", "0", "-"]
    assert lines[-1].startswith("Never called: ")
    assert silent.name in lines[-1]
    assert counted.name not in lines[-1]


def test_a_client_that_nobody_knows_is_wrong_use(db: None) -> None:
    with pytest.raises(CommandError, match="no client 'nobody'") as refused:
        call_command("client_activity", "--client", "nobody")
    assert refused.value.returncode == 2


@pytest.fixture
def browser(db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("root-of-tests", "root@example.test", "long 1 phrase"))
    return browser


def test_the_list_in_the_admin_costs_no_query_per_row(browser: Browser, counted: Client) -> None:
    page = reverse("admin:ledger_clientactivity_changelist")
    browser.get(page)
    with CaptureQueriesContext(connection) as few:
        answer = browser.get(page, {"q": counted.name})
    assert answer.status_code == 200
    assert counted.name in answer.content.decode()
    for number in range(10):
        client_activity.count(client_id=counted.id, operation=f"o{number}", is_refused=False, points=None)
    client_activity.write_now()
    with CaptureQueriesContext(connection) as many:
        assert browser.get(page, {"q": counted.name}).status_code == 200

    assert len(many) == len(few)


def test_the_page_of_a_client_shows_what_it_calls(browser: Browser, counted: Client) -> None:
    answer = browser.get(reverse("admin:ledger_client_change", args=[counted.id]))

    assert answer.status_code == 200
    assert "balance" in answer.content.decode()


def test_the_database_refuses_more_refused_calls_than_calls(counted: Client) -> None:
    with pytest.raises(IntegrityError, match="client_activity_refused_among_calls"), transaction.atomic():
        ClientActivity.objects.filter(client=counted).update(refused=1000)
