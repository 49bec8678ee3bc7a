"""What clients see when something behind the API fails: a problem they can act on, and never more."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import requests
from django.db import connection

from ledger.idempotency import lock_number
from ledger.models import Client, Entry
from pointsystem.embedded.processes import Supervisor
from pointsystem.embedded.stack import Processes
from tests.api.caller import Api
from tests.api.http import exchange
from tests.api.proxy import Proxy
from tests.factories import idempotency_key


def test_an_error_of_our_own_tells_the_client_nothing_and_the_log_everything(
    api: Api, account: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from ledger import face

    def broken(**_: Any) -> Any:
        raise RuntimeError("the secret of SELECT * FROM ledger_api_key in /srv/app")

    monkeypatch.setattr(face, "history_page", broken)
    reply = api.get(f"/api/v1/accounts/{account}/history", X_Request_ID="r-500")

    assert reply.status == 500
    assert reply.json == {
        "type": "urn:pointsystem:problem:internal_error",
        "title": "Internal error",
        "status": 500,
        "code": "internal_error",
        "detail": "The request failed here.",
        "request_id": "r-500",
    }
    (record,) = [record for record in caplog.records if record.name == "pointsystem.api.gateway"]
    assert record.exc_info is not None
    assert "the secret of SELECT" in str(record.exc_info[1])


def test_the_next_request_is_answered_as_ever(
    api: Api, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger import face

    with monkeypatch.context() as patch:
        patch.setattr(face, "history_page", lambda **_: 1 / 0)
        assert api.get(f"/api/v1/accounts/{account}/history").status == 500

    assert api.get(f"/api/v1/accounts/{account}/history").status == 200


# --- PostgreSQL away ------------------------------------------------------------------------------------
class Server:
    """A web server of its own whose way to PostgreSQL can be cut."""

    def __init__(self, url: str, proxy: Any, log: Path) -> None:
        self.url, self.proxy, self.log = url, proxy, log

    def post(self, api: Api, path: str, body: Any, *, key: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {api.key}", "Idempotency-Key": key}
        return requests.post(self.url + path, json=body, headers=headers, timeout=20)

    def get(self, api: Api, path: str) -> requests.Response:
        return requests.get(self.url + path, headers={"Authorization": f"Bearer {api.key}"}, timeout=20)


@pytest.fixture(scope="module")
def server(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = dict(processes._environment)
    database = urlsplit(environment["DATABASE_URL"])
    proxy = Proxy((database.hostname or "", database.port or 5432))
    user = database.netloc.rpartition("@")[0]
    behind = database._replace(netloc=f"{user}@127.0.0.1:{proxy.port}")
    environment |= {
        "DATABASE_URL": urlunsplit(behind),
        "POINTS_WEB_PROCESSES": "1",
        "POINTS_WEB_THREADS": "2",
    }
    directory = tmp_path_factory.mktemp("cut-off")
    supervisor = Supervisor(say=lambda text: None)
    started = Processes(environment=environment, directory=directory, supervisor=supervisor).start_web()
    yield Server(started[1], proxy, directory / "logs" / "web.log")
    proxy.open()
    supervisor.stop()
    proxy.stop()


def test_without_the_database_everything_is_503_and_then_as_before(
    committed_db: None, server: Server, account: str
) -> None:
    api = Api()
    earn = f"/api/v1/accounts/{account}/earn"
    body, key = {"points": 10, "reason": "EVENT"}, idempotency_key()
    assert server.post(api, earn, body, key=key).status_code == 201

    server.proxy.close()
    # The key is remembered for a second: these answers come from behind the authentication,
    remembered = [server.post(api, earn, body, key=key), server.get(api, f"/api/v1/accounts/{account}/lots")]
    time.sleep(1.1)
    # and these from the authentication itself.
    forgotten = [server.post(api, earn, body, key=key), server.get(api, f"/api/v1/accounts/{account}/lots")]
    ready = requests.get(server.url + "/readyz", timeout=20)
    alive = requests.get(server.url + "/healthz", timeout=20)
    server.proxy.open()
    again = _until_answered(lambda: server.post(api, earn, body, key=key))

    for response in (*remembered, *forgotten):
        problem = response.json()
        assert (response.status_code, problem["code"]) == (503, "database_unavailable"), problem
        assert response.headers["Content-Type"] == "application/problem+json"
        assert int(response.headers["Retry-After"]) >= 1
        assert set(problem) == {"type", "title", "status", "code", "detail", "request_id"}
    assert (ready.status_code, ready.json()) == (503, {"status": "down", "down": ["database"]})
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert Entry.objects.filter(account__account_number=account).count() == 1


def test_a_cut_connection_costs_no_request(committed_db: None, server: Server, account: str) -> None:
    """What ran on the lost connection runs once more on a new one, and is done once."""
    api = Api()
    earn = f"/api/v1/accounts/{account}/earn"

    statuses = []
    for number in range(8):
        response = server.post(api, earn, {"points": 1, "reason": "EVENT"}, key=f"{account}-{number}")
        statuses.append((response.status_code, response.headers.get("Idempotency-Replayed")))
        server.proxy.cut()

    assert statuses == [(201, None)] * 8
    assert Entry.objects.filter(account__account_number=account).count() == 8


def test_the_log_of_a_server_is_json_and_holds_no_key(
    committed_db: None, server: Server, account: str
) -> None:
    api = Api()
    server.post(api, f"/api/v1/accounts/{account}/earn", {"points": 1, "reason": "EVENT"}, key="k")

    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    assert [line["endpoint"] for line in lines if line.get("client") == api.name] == ["earn"]
    assert api.key.split("_", 2)[2] not in text


# --- Locks that others hold -------------------------------------------------------------------------------
@contextmanager
def held(statement: str, parameters: list[Any]) -> Iterator[None]:
    """Somebody else's transaction that has run `statement` and does not end."""
    database = connection.settings_dict
    with psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        dbname=database["NAME"],
        user=database["USER"],
        password=database["PASSWORD"],
    ) as other:
        other.execute(statement, parameters)
        yield
        other.rollback()


def test_a_key_that_is_still_being_run_is_409_and_then_done(
    committed_db: None, live_server_url: str, account: str
) -> None:
    api = Api()
    server = Server(live_server_url, None, Path())
    path, body = f"/api/v1/accounts/{account}/earn", {"points": 10, "reason": "EVENT"}
    number = lock_number(client_id=Client.objects.get(name=api.name).id, idempotency_key="k")

    with held("SELECT pg_advisory_xact_lock(%s)", [number]):
        refused = server.post(api, path, body, key="k")
    done = server.post(api, path, body, key="k")

    assert (refused.status_code, refused.json()["code"]) == (409, "operation_in_progress")
    assert int(refused.headers["Retry-After"]) >= 1
    assert "operation_id" not in refused.json()
    assert (done.status_code, "Idempotency-Replayed" in done.headers) == (201, False)


@pytest.mark.parametrize("call", ["spend", "earn"])
def test_an_account_that_somebody_holds_is_busy_and_nothing_is_changed(
    committed_db: None, live_server_url: str, account: str, call: str
) -> None:
    api = Api()
    server = Server(live_server_url, None, Path())
    assert api.earn(account, 100).status == 201
    reason = {"spend": "ORDER_PAYMENT", "earn": "EVENT"}[call]
    path, body = f"/api/v1/accounts/{account}/{call}", {"points": 10, "reason": reason}

    with held("SELECT 1 FROM ledger_account WHERE account_number = %s FOR UPDATE", [account]):
        refused = server.post(api, path, body, key="k")
        balance = server.get(api, f"/api/v1/accounts/{account}/lots")
    done = server.post(api, path, body, key="k")

    assert (refused.status_code, refused.json()["code"]) == (503, "account_busy")
    assert int(refused.headers["Retry-After"]) >= 1
    # Whoever only reads does not wait.
    assert balance.json()["data"][0]["remaining"] == 100
    assert (done.status_code, "Idempotency-Replayed" in done.headers) == (201, False)
    assert Entry.objects.filter(account__account_number=account).count() == 2


# --- Connections out of a pool ----------------------------------------------------------------------------
def test_pooled_connections_go_back_after_each_request(
    committed_db: None, processes: Processes, tmp_path: Path, account: str
) -> None:
    """Four threads share two connections: a thread that kept one would starve the others."""
    environment = dict(processes._environment)
    environment |= {
        "POINTS_DB_POOL": "1",
        "POINTS_DB_POOL_SIZE": "2",
        "POINTS_WEB_PROCESSES": "1",
        "POINTS_WEB_THREADS": "4",
    }
    supervisor = Supervisor(say=lambda text: None)
    try:
        url = Processes(environment=environment, directory=tmp_path, supervisor=supervisor).start_web()[1]
        api, server = Api(), Server(url, None, Path())
        path, body = f"/api/v1/accounts/{account}/earn", {"points": 1, "reason": "EVENT"}
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda key: server.post(api, path, body, key=str(key)), range(60)))
        assert [answer.status_code for answer in answers] == [201] * 60
        assert server.get(api, f"/api/v1/accounts/{account}/balance").json()["available"] == 60
    finally:
        supervisor.stop()


# --- Bytes that are no proper HTTP ----------------------------------------------------------------------
def _request(api: Api, account: str, *lines: str, body: bytes = b'{"points": 1, "reason": "EVENT"}') -> bytes:
    head = [
        f"POST /api/v1/accounts/{account}/earn HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {api.key}",
        "Content-Type: application/json",
        "Connection: close",
        *lines,
    ]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("lines", "body", "statuses"),
    [
        (["Idempotency-Key: a", "Idempotency-Key: b", "Content-Length: 32"], None, {400}),
        (["Idempotency-Key: a", "Idempotency-Key: a", "Content-Length: 32"], None, {400}),
        (["Idempotency-Key: a\x01b", "Content-Length: 32"], None, {400}),
        (["Idempotency-Key: \xe9", "Content-Length: 32"], None, {400}),
        (["Idempotency-Key: a", "Authorization: Bearer x", "Content-Length: 32"], None, {401}),
        (["Idempotency-Key: a", "Content-Length: 32", "Content-Length: 33"], None, {400, 0}),
        (["Idempotency-Key: a", "Content-Length: 32", "Transfer-Encoding: chunked"], b"0\r\n\r\n", {400, 0}),
        (["Idempotency-Key: a", "Transfer-Encoding: chunked"], b"1\r\n{\r\n0\r\n\r\n", {400, 0}),
        (["Idempotency-Key: a", "Transfer-Encoding: gzip"], None, {400, 501, 0}),
        (["Idempotency-Key: a", "Content-Length: -1"], None, {400, 0}),
        (["Idempotency-Key: a", "Content-Length: 99999999999"], None, {413}),
        (["Idempotency-Key: a", "X-Large: " + "x" * 1_000_000, "Content-Length: 32"], None, {400, 431, 0}),
        (["Idempotency-Key: a", "Host: evil.example", "Content-Length: 32"], None, {400, 0}),
    ],
)
def test_what_only_raw_bytes_can_say_is_refused(
    committed_db: None,
    live_server_url: str,
    account: str,
    lines: list[str],
    body: bytes | None,
    statuses: set[int],
) -> None:
    """0 stands for a connection that was closed without an answer."""
    api = Api()
    request = _request(api, account, *lines, **({} if body is None else {"body": body}))

    reply = exchange(live_server_url, request)

    assert (reply.status if reply else 0) in statuses, reply
    assert Entry.objects.filter(account__account_number=account).count() == 0


def test_a_body_that_ends_too_early_is_refused(
    committed_db: None, live_server_url: str, account: str
) -> None:
    api = Api()
    place = urlsplit(live_server_url)
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=10) as peer:
        peer.sendall(_request(api, account, "Idempotency-Key: a", "Content-Length: 60"))
        peer.shutdown(socket.SHUT_WR)
        answered = peer.recv(65536)

    assert answered == b"" or answered.startswith(b"HTTP/1.1 400")
    assert Entry.objects.filter(account__account_number=account).count() == 0


def _until_answered(ask: Any) -> requests.Response:
    deadline = time.monotonic() + 5
    while True:
        response: requests.Response = ask()
        if response.status_code != 503 or time.monotonic() > deadline:
            return response
        time.sleep(0.1)


# --- Bodies that do not come ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def impatient_server_url(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One process with two threads, which waits for a body no longer than a second."""
    environment = dict(processes._environment)
    environment |= {
        "POINTS_WEB_PROCESSES": "1",
        "POINTS_WEB_THREADS": "2",
        "POINTS_BODY_TIMEOUT_SECONDS": "1",
    }
    directory = tmp_path_factory.mktemp("impatient")
    supervisor = Supervisor(say=lambda text: None)
    yield Processes(environment=environment, directory=directory, supervisor=supervisor).start_web()[1]
    supervisor.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked which connection waits")
@pytest.mark.parametrize("pause_seconds", [0.2, 60.0], ids=["a byte now and then", "nothing more"])
def test_slow_bodies_do_not_hold_the_threads(
    committed_db: None, impatient_server_url: str, account: str, pause_seconds: float
) -> None:
    api = Api()
    place = urlsplit(impatient_server_url)
    slow = [socket.create_connection((place.hostname or "", place.port or 80)) for _ in range(2)]
    ended = threading.Event()

    def drip(peer: socket.socket) -> None:
        with suppress(OSError):
            peer.sendall(_request(api, account, "Idempotency-Key: slow", "Content-Length: 5000"))
            while not ended.wait(pause_seconds):
                peer.sendall(b" ")

    threads = [threading.Thread(target=drip, args=(peer,)) for peer in slow]
    for thread in threads:
        thread.start()
    time.sleep(0.3)

    # Both threads of the server wait for bodies. This one waits for a thread, and is answered.
    started = time.monotonic()
    answered = requests.get(
        f"{impatient_server_url}/api/v1/accounts/{account}/balance",
        headers={"Authorization": f"Bearer {api.key}"},
        timeout=20,
    )
    waited = time.monotonic() - started
    ended.set()
    for peer, thread in zip(slow, threads, strict=True):
        thread.join()
        peer.close()

    assert answered.status_code == 200
    assert 0.2 < waited < 10
    assert Entry.objects.filter(account__account_number=account).count() == 0
