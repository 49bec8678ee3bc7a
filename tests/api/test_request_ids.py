import json
import re
from typing import Any

import pytest
import structlog

from ledger import face
from tests.api.caller import Api

IDENTIFIER = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def logged(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    lines = capfd.readouterr().err.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_the_id_of_the_caller_comes_back_and_stands_in_the_log(
    api: Api, account: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    path = f"/api/v1/accounts/{account}/earn"
    reply = api.post(path, {"points": 5, "reason": "EVENT"}, X_Request_ID="order-service:8f3a")

    assert reply.headers["x-request-id"] == "order-service:8f3a"
    (line,) = [line for line in logged(capfd) if line["event"] == "request"]
    assert line == {
        "at": line["at"],
        "level": "info",
        "event": "request",
        "request_id": "order-service:8f3a",
        "endpoint": "earn",
        "method": "POST",
        "path": path,
        "status": 201,
        "milliseconds": line["milliseconds"],
        "client": api.name,
    }


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a\nb", "a\x1b[31m", "é", "{}"])
def test_an_id_that_is_none_is_replaced(api: Api, account: str, given: str) -> None:
    reply = api.get(f"/api/v1/accounts/{account}/balance", X_Request_ID=given)

    assert reply.status == 200
    assert IDENTIFIER.fullmatch(reply.headers["x-request-id"])
    assert reply.headers["x-request-id"] != given


def test_every_answer_has_an_id_and_a_problem_names_it(api: Api, account: str) -> None:
    replies = [
        api.get(f"/api/v1/accounts/{account}/balance"),
        api.get("/api/v1/nowhere"),
        api.get("/api/nowhere"),
        api.earn(account, 0),
        Api(key="ps_000000000000_" + "a" * 43).get("/api/v1/operations"),
        api.get("/healthz"),
    ]

    assert len({reply.headers["x-request-id"] for reply in replies}) == 6
    for reply in replies[1:5]:
        assert reply.json["request_id"] == reply.headers["x-request-id"]


def test_the_operation_of_a_request_without_an_id_is_named_like_the_request(api: Api, account: str) -> None:
    reply = api.earn(account, 5)

    assert reply.headers["x-request-id"] == reply.json["id"]


def test_a_read_that_went_well_leaves_no_line(
    api: Api, account: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()

    api.get(f"/api/v1/accounts/{account}/balance")
    api.get(f"/api/v1/accounts/{account}/balance?x=1")

    assert [(line["endpoint"], line["status"]) for line in logged(capfd)] == [("balance", 400)]


def test_what_a_client_writes_cannot_start_a_line(api: Api, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()

    reply = api.get("/api/v1/accounts/a%0A%7B%22level%22%3A%22x%22%7D%1B%5B31m/balance")

    assert (reply.status, reply.errors) == (400, {"account_number": "bad_format"})
    (line,) = logged(capfd)
    assert line["path"] == '/api/v1/accounts/a\n{"level":"x"}\x1b[31m/balance'


def test_neither_key_nor_query_nor_body_is_logged(
    api: Api, account: str, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    secret = api.key.split("_", 2)[2]

    api.spend(account, 10, metadata={"note": "canary-in-the-body"})
    api.get("/api/v1/operations?reference=canary%20in%20the%20query")
    api.get(f"/api/v1/accounts/{account}/lots", Authorization=f"Bearer {api.key}x")

    written = capfd.readouterr().err
    assert written.count('"event":"request"') == 3
    assert "canary" not in written
    assert not any(secret[start : start + 12] in written for start in range(len(secret) - 11))


def test_ids_reach_the_lines_of_the_ledger_and_leave_with_the_request(
    api: Api, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    history_page = face.history_page

    def listening(**keywords: Any) -> Any:
        seen.append(dict(structlog.contextvars.get_contextvars()))
        return history_page(**keywords)

    monkeypatch.setattr(face, "history_page", listening)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    api.get(f"/api/v1/accounts/{account}/history", X_Request_ID="r-1", Traceparent=trace)
    api.get(f"/api/v1/accounts/{account}/history", X_Request_ID="r-2", Traceparent="garbage")

    assert seen == [{"request_id": "r-1", "traceparent": trace}, {"request_id": "r-2"}]
    assert structlog.contextvars.get_contextvars() == {}
