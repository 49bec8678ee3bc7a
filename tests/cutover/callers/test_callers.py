"""Who still calls procedures: rows that no call of the API made are counted by procedure and caller."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import psycopg
import pytest
from celery import Celery
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from cutover import callers, callers_report, face, tasks
from cutover.models import CallerDay, CallerScan, Intent, UndecidedRow
from ledger import client_activity, crash_points, errors
from ledger.models import Operation
from legacy_bridge import sessions
from legacy_bridge.adapter import Feature
from legacy_bridge.calling import Out, call_procedure
from legacy_bridge.reference import clock as legacy_clock
from pointsystem.celery import schedule_the_recoverer
from pointsystem.embedded.stack import ROOT
from tests.cutover.callers.conftest import install_for_callers
from tests.cutover.legacy_calls import Killed, in_thread, lose_answer
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number
from tests.legacy_bridge.conftest import LegacyDatabase

pytestmark = pytest.mark.usefixtures("counted_from_here")

EARN, USE, USE_CANCEL = "PR_POINT_EARN", "PR_POINT_USE", "PR_POINT_USE_CANCEL"


class Service:
    """A service that calls procedures, by a name of its own: the legacy is shared by all tests."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{secrets.token_hex(4)}"

    def earns(self, account: str, points: int) -> str:
        return self._call(EARN, account, "11", points, "D", None)

    def uses(self, account: str, points: int) -> str:
        return self._call(USE, account, "21", points)

    def cancels_use(self, account: str, row: str, points: int) -> str:
        return self._call(USE_CANCEL, account, int(row), points, "31")

    def _call(self, procedure: str, *arguments: Any) -> str:
        with sessions.session() as session:
            code, message, row, *_ = call_procedure(
                session, f"legacy.{procedure}", [*arguments, None, None, self.name, *(Out(),) * 6]
            )
        assert code == "S", message
        return str(row)

    def counted(self, *, since: date | None = None) -> dict[str, tuple[int, int]]:
        """Rows and points of it, by procedure, as the report has them."""
        lines = callers_report.report(since=since).direct
        return {line.procedure: (line.rows, line.points) for line in lines if line.caller == self.name}

    def not_known(self) -> dict[str, tuple[int, int]]:
        lines = callers_report.report(since=None).undecided
        return {line.procedure: (line.rows, line.points) for line in lines if line.caller == self.name}


@pytest.fixture
def voucher() -> Service:
    return Service("VOUCHER")


@pytest.fixture
def front() -> Service:
    return Service("FRONT")


@pytest.fixture
def account() -> str:
    return account_number()


@pytest.fixture
def counted_from_here(legacy_only: Any) -> Iterator[None]:
    """All that other tests left is forgotten, and the legacy's clock runs again at the end."""
    callers.rescan(since=date.today() - timedelta(days=1))  # noqa: DTZ011
    yield
    with sessions.session() as session:
        legacy_clock.run(session)


@pytest.fixture
def legacy_url(legacy_only: Any, legacy_database: LegacyDatabase) -> str:
    return legacy_database("postgresql", prepare=install_for_callers)


def scan(*, minutes_later: int = 0) -> CallerScan:
    return callers.scan(now=datetime.now(UTC) + timedelta(minutes=minutes_later))


def through_api() -> dict[str, tuple[int, int]]:
    lines = callers_report.report(since=None).through_api
    return {line.procedure: (line.rows, line.points) for line in lines}


# --- counted ----------------------------------------------------------------------------------------------
def test_direct_calls_are_counted_by_procedure_and_caller_beside_those_of_the_api(
    voucher: Service, front: Service, account: str
) -> None:
    scan()
    before = through_api()
    started = datetime.now(UTC)
    mine = {"client_id": ClientFactory().id, "account_number": account}
    voucher.earns(account, 100)
    voucher.earns(account, 50)
    used = front.uses(account, 30)
    front.cancels_use(account, used, 10)
    face.execute(EarnFactory(**mine, points=1000))
    spent = face.execute(SpendFactory(**mine, points=7)).operation
    # Reading makes operations of the rows that nobody made through the API; they stay direct calls.
    assert len(face.history_page(account_number=account).data) == 6
    assert Operation.objects.filter(account_number=account, client__name="legacy").count() >= 3
    # So does cancelling one of them; the cancel itself is a call of the API.
    adopted = Operation.objects.get(counterpart_id=used)
    face.execute(CancelFactory(client_id=mine["client_id"], cancelled_operation_id=adopted.id, points=5))

    scan()

    assert voucher.counted() == {EARN: (2, 150)}
    assert front.counted() == {USE: (1, -30), USE_CANCEL: (1, 10)}
    after = through_api()
    grown = {
        name: tuple(now - was for now, was in zip(after[name], before.get(name, (0, 0)), strict=True))
        for name in after
    }
    assert grown[EARN] == (1, 1000)
    assert grown[USE] == (1, -7)
    assert grown[USE_CANCEL] == (1, 5)
    assert spent.state == "completed"
    (line,) = [line for line in callers_report.report(since=None).direct if line.caller == voucher.name]
    assert started <= line.first_at < line.last_at <= datetime.now(UTC)


def test_young_rows_are_counted_anew_each_time_and_once(voucher: Service, account: str) -> None:
    voucher.earns(account, 1)
    for _ in range(3):
        assert scan().is_behind is False
    assert voucher.counted() == {EARN: (1, 1)}
    assert CallerDay.objects.filter(caller=voucher.name).values_list("is_final", flat=True).get() is False

    for _ in range(2):
        scan(minutes_later=10)

    assert voucher.counted() == {EARN: (1, 1)}
    assert CallerDay.objects.filter(caller=voucher.name).values_list("is_final", flat=True).get() is True


def test_a_scan_reads_what_came_since_the_last(voucher: Service, account: str) -> None:
    voucher.earns(account, 1)
    first = scan(minutes_later=10)
    assert scan(minutes_later=10).rows_read == first.rows_read
    last = [voucher.earns(account, 1) for _ in range(3)][-1]

    second = scan(minutes_later=10)

    assert (second.rows_read - first.rows_read, second.watermark) == (3, last)
    assert voucher.counted() == {EARN: (4, 4)}


def test_a_row_that_appears_behind_others_is_counted(
    voucher: Service, front: Service, account: str, legacy_url: str
) -> None:
    with psycopg.connect(legacy_url) as slow:
        slow.execute(
            "CALL legacy.PR_POINT_EARN(%s, '11', 20, 'D', NULL, NULL, NULL, %s,"
            " NULL, NULL, NULL, NULL, NULL, NULL)",
            [account, voucher.name],
        )
        front.earns(account_number(), 5)
        scan()
        assert (voucher.counted(), front.counted()) == ({}, {EARN: (1, 5)})
        slow.commit()

    scan()

    assert (voucher.counted(), front.counted()) == ({EARN: (1, 20)}, {EARN: (1, 5)})


@pytest.mark.parametrize("minutes_later", [0, 10])
def test_rows_of_an_account_with_an_unsettled_intent_are_not_known_yet(
    voucher: Service, account: str, monkeypatch: pytest.MonkeyPatch, minutes_later: int
) -> None:
    mine = {"client_id": ClientFactory().id, "account_number": account}
    face.execute(EarnFactory(**mine, points=100))
    spend = SpendFactory(**mine, points=30)
    lose_answer(monkeypatch, done=True)
    with pytest.raises(errors.OutcomeUnknown):
        face.execute(spend)
    voucher.earns(account, 9)

    scan(minutes_later=minutes_later)
    assert (voucher.counted(), voucher.not_known()) == ({}, {EARN: (1, 9)})

    Intent.objects.filter(operation_id=spend.operation_id).update(leased_until=datetime.now(UTC))
    tasks.settle_intents()
    assert Operation.objects.get(id=spend.operation_id).state == "completed"
    scan(minutes_later=minutes_later)
    assert (voucher.counted(), voucher.not_known()) == ({EARN: (1, 9)}, {})
    assert not UndecidedRow.objects.filter(caller=voucher.name).exists()


def test_only_the_days_that_are_asked_for(voucher: Service, account: str) -> None:
    today = callers.today(datetime.now(UTC))
    for days_ago in (40, 3, 0):
        stand_at(datetime.now(UTC) - timedelta(days=days_ago))
        voucher.earns(account, 1)
    callers.rescan(since=today - timedelta(days=10))
    state = scan(minutes_later=10)

    assert state.watermark is not None
    assert voucher.counted() == {EARN: (2, 2)}
    assert voucher.counted(since=today - timedelta(days=3)) == {EARN: (2, 2)}
    assert voucher.counted(since=today - timedelta(days=2)) == {EARN: (1, 1)}
    assert callers_report.report(since=today - timedelta(days=10)).reaches_back
    assert not callers_report.report(since=today - timedelta(days=11)).reaches_back

    callers.rescan(since=None)
    scan(minutes_later=10)

    assert voucher.counted() == {EARN: (3, 3)}
    assert CallerScan.objects.get().counted_since is None
    assert callers_report.report(since=today - timedelta(days=10_000)).reaches_back


def stand_at(instant: datetime) -> None:
    from legacy_bridge import configured

    with sessions.session() as session:
        legacy_clock.stop_at(session, local=configured.adapter().local(instant))


# --- killed, and together ---------------------------------------------------------------------------------
def test_a_scan_that_dies_between_batches_goes_on_where_it_was(
    voucher: Service, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(minutes_later=10)
    rows = [voucher.earns(account, 1) for _ in range(7)]
    monkeypatch.setattr(callers, "_BATCH_ROWS", 2)
    turns = iter((None, None, Killed()))

    def die(name: str) -> None:
        error = next(turns)
        if error is not None:
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(crash_points, "reach", die)
        with pytest.raises(Killed):
            scan(minutes_later=10)

    # Two batches stand; what was added of the third went with it.
    assert voucher.counted() == {EARN: (4, 4)}
    assert (CallerScan.objects.get().watermark, CallerScan.objects.get().is_behind) == (rows[3], True)
    assert scan(minutes_later=10).is_behind is False
    assert voucher.counted() == {EARN: (7, 7)}


def test_a_process_that_is_killed_before_the_commit_leaves_nothing_half(
    voucher: Service, account: str, legacy_url: str
) -> None:
    stand_at(datetime.now(UTC) - timedelta(hours=1))
    voucher.earns(account, 1)
    command = [sys.executable, str(ROOT / "manage.py"), "legacy", "callers", "--json"]
    environment = {**os.environ, "POINTS_STACK": "test", "LEGACY_DATABASE_URL": legacy_url}

    killed = subprocess.run(
        command,
        env={**environment, "POINTS_CRASH_POINT": "callers.before_commit:1"},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert voucher.counted() == {}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)

    assert voucher.counted() == {EARN: (1, 1)}
    told = json.loads(done.stdout)
    assert [line["rows"] for line in told["callers"] if line["caller"] == voucher.name] == [1]


def test_scans_at_the_same_time_count_each_row_once(
    voucher: Service, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(20):
        voucher.earns(account, 1)
    monkeypatch.setattr(callers, "_BATCH_ROWS", 3)

    waiting = [in_thread(lambda: scan(minutes_later=10)) for _ in range(4)]
    for wait in waiting:
        wait()

    assert voucher.counted() == {EARN: (20, 20)}


def test_a_legacy_that_is_away_is_told_of_and_costs_nothing(
    voucher: Service, account: str, monkeypatch: pytest.MonkeyPatch, legacy_only: Any
) -> None:
    from legacy_bridge.errors import NotDone

    voucher.earns(account, 1)
    scan()

    def be_away(*arguments: Any, **named: Any) -> Any:
        raise NotDone("The legacy does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(type(legacy_only), "rows_after", be_away)
        assert tasks.count_callers() == 0
    state = CallerScan.objects.get()

    assert (state.is_behind, state.last_error) == (True, "The legacy does not answer.")
    assert voucher.counted() == {EARN: (1, 1)}
    assert tasks.count_callers() >= 0
    assert (CallerScan.objects.get().is_behind, CallerScan.objects.get().last_error) == (False, "")


def test_beat_asks_for_it_where_there_is_a_legacy(settings: Any) -> None:
    for has_legacy in (True, False):
        settings.HAS_LEGACY = has_legacy
        app = Celery("of this test", set_as_current=False)
        app.conf.beat_schedule = {}
        schedule_the_recoverer(app)
        assert ("count-callers" in app.conf.beat_schedule) is has_legacy


# --- told -------------------------------------------------------------------------------------------------
def told(*arguments: str) -> str:
    out = StringIO()
    call_command("legacy", "callers", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_command_reads_and_tells_it_as_json(voucher: Service, front: Service, account: str) -> None:
    client = ClientFactory()
    silent = ClientFactory()
    client_activity.count(client_id=client.id, operation="earn", is_refused=False, points=1)
    client_activity.write_now()
    voucher.earns(account, 100)
    front.uses(account, 40)

    found = json.loads(told("--days", "1", "--json"))

    lines = [line for line in found["callers"] if line["caller"] in (voucher.name, front.name)]
    for line in lines:
        assert line.pop("first_at") == line.pop("last_at")
    assert lines == [
        {"procedure": EARN, "caller": voucher.name, "rows": 1, "points": 100},
        {"procedure": USE, "caller": front.name, "rows": 1, "points": -40},
    ]
    assert (found["is_complete"], found["last_error"]) == (True, None)
    assert found["since"] == callers.today(datetime.now(UTC)).isoformat()
    clients = {line["name"]: line for line in found["clients"]}
    assert clients[client.name]["calls"] == 1
    assert clients[client.name]["last_called_at"] is not None
    assert clients[silent.name] == {"name": silent.name, "last_called_at": None, "calls": 0}


def test_the_command_tells_it_as_text(voucher: Service, account: str) -> None:
    silent = ClientFactory()
    voucher.earns(account, 1500)

    lines = told().splitlines()

    assert lines[0].startswith("History of the legacy: rows since ")
    direct = lines.index("Called directly")
    assert lines[direct + 1].split() == ["PROCEDURE", "CALLER", "FIRST", "LAST", "ROWS", "POINTS"]
    (line,) = [line.split() for line in lines if voucher.name in line]
    assert (line[0], line[-2:]) == (EARN, ["1", "1,500"])
    assert [line.split()[1:] for line in lines if silent.name in line] == [["never", "0"]]


def test_what_was_never_read_is_not_told_as_nothing(voucher: Service, account: str) -> None:
    voucher.earns(account, 1)
    CallerScan.objects.all().delete()

    assert "nothing is known of who calls" in told("--no-scan")
    found = json.loads(told("--no-scan", "--json"))
    assert (found["callers"], found["not_known_yet"], found["is_complete"]) == (None, None, False)

    # The first scan begins with the last days.
    found = json.loads(told("--json"))
    begins = callers.day_start(callers.today(datetime.now(UTC)) - timedelta(days=callers.FIRST_SCAN_DAYS))
    assert found["counted_since"] == begins.isoformat()
    assert voucher.counted() == {EARN: (1, 1)}


def test_an_older_day_than_was_counted_is_counted_from_there(voucher: Service, account: str) -> None:
    today = callers.today(datetime.now(UTC))
    stand_at(datetime.now(UTC) - timedelta(days=50))
    voucher.earns(account, 1)
    old = (today - timedelta(days=60)).isoformat()

    assert "is not known" in told("--no-scan", "--since", old)
    assert json.loads(told("--no-scan", "--since", old, "--json"))["is_complete"] is False
    assert voucher.counted() == {}
    assert json.loads(told("--since", old, "--json"))["is_complete"] is True
    assert voucher.counted() == {EARN: (1, 1)}
    # A later day asks for nothing new.
    assert json.loads(told("--days", "1", "--json"))["callers"] is not None
    assert voucher.counted() == {EARN: (1, 1)}


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [
        ("caller_scan_is_one_row", "UPDATE cutover_caller_scan SET id = 2"),
        ("caller_day_has_origin", "UPDATE cutover_caller_day SET origin = 'other' WHERE caller = %s"),
        ("caller_day_has_rows", "UPDATE cutover_caller_day SET rows = 0 WHERE caller = %s"),
    ],
)
def test_the_database_refuses_counts_that_cannot_be(
    voucher: Service, account: str, constraint: str, statement: str
) -> None:
    voucher.earns(account, 1)
    scan()

    with pytest.raises(IntegrityError, match=constraint), connection.cursor() as cursor:
        cursor.execute(statement, [voucher.name] if "%s" in statement else [])

    assert voucher.counted() == {EARN: (1, 1)}


def test_an_adapter_without_history_is_told_of(monkeypatch: pytest.MonkeyPatch, legacy_only: Any) -> None:
    monkeypatch.setattr(type(legacy_only), "features", legacy_only.features - {Feature.HISTORY})

    with pytest.raises(CommandError, match="does not list its history") as refused:
        told()

    assert refused.value.returncode == 2
    assert tasks.count_callers() == 0


def test_contradicting_options_are_wrong_use() -> None:
    with pytest.raises(CommandError, match="not both") as refused:
        told("--rescan", "--no-scan")
    assert refused.value.returncode == 2


# --- shown ------------------------------------------------------------------------------------------------
@pytest.fixture
def browser(legacy_only: Any) -> Browser:
    # The person stays: the audit trail names who signed in, for good.
    user = User.objects.create_superuser(f"root-{secrets.token_hex(4)}", "root@example.test", "long 1 phrase")
    browser = Browser()
    browser.force_login(user)
    return browser


def test_the_page_shows_who_calls_and_costs_no_query_per_row(
    browser: Browser, voucher: Service, account: str
) -> None:
    page = reverse("admin:cutover_callerscan_changelist")
    voucher.earns(account, 1)
    scan()
    browser.get(page)
    with CaptureQueriesContext(connection) as few:
        answer = browser.get(page, {"days": "7"})
    assert answer.status_code == 200
    assert voucher.name in answer.content.decode()
    for service in (Service("BILLING"), Service("ORDERS"), Service("MEMBERS")):
        service.earns(account, 1)
        ClientFactory()
    scan()
    with CaptureQueriesContext(connection) as many:
        assert browser.get(page, {"days": "7"}).status_code == 200

    assert len(many) == len(few)
    big = ("ledger_operation", "ledger_entry", "cutover_intent")
    assert not [query["sql"] for query in many if any(table in query["sql"] for table in big)]


def test_the_page_says_when_nobody_ever_looked(browser: Browser) -> None:
    CallerScan.objects.all().delete()

    page = browser.get(reverse("admin:cutover_callerscan_changelist")).content.decode()

    assert "was never read" in page
    assert "Called directly" not in page


def test_nobody_without_a_login_sees_the_page(legacy_only: Any) -> None:
    answer = Browser().get(reverse("admin:cutover_callerscan_changelist"))

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login"))
