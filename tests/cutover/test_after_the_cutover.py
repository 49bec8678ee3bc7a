"""A database that went the whole way, with `legacy_bridge` and `cutover` taken out: old keys replay, and what
was done in every stage can be cancelled."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.test_on_stages import LEGACY, STAGES
from tests.cutover.legacy_calls import call_directly
from tests.factories import account_number
from tests.legacy_bridge.conftest import _databases  # noqa: F401
from tests.wrapped import Wrapped, at_legacy


@dataclass
class Client:
    url: str
    key: str
    #: Every request that moved points, with what was answered first.
    sent: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = field(default_factory=list)

    def post(self, path: str, idempotency_key: str, body: dict[str, Any]) -> tuple[int, Any, bool]:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}",
            data=json.dumps(body).encode(),
            method="POST",
            headers={
                "Authorization": f"Bearer {self.key}",
                "Idempotency-Key": idempotency_key,
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer), answer.headers.get("Idempotency-Replayed") == "true"
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), False

    def get(self, path: str) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/v1/{path}", headers={"Authorization": f"Bearer {self.key}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def do(self, path: str, idempotency_key: str, body: dict[str, Any]) -> dict[str, Any]:
        give_up_at = time.monotonic() + 30
        while True:
            status, answer, _ = self.post(path, idempotency_key, body)
            if status == 201:
                break
            assert status == 503, answer
            assert time.monotonic() < give_up_at, answer
            time.sleep(0.1)
        self.sent.append((path, idempotency_key, body, answer))
        return dict(answer)


def settle(product: Wrapped) -> None:
    give_up_at = time.monotonic() + 30
    while product.query(
        "SELECT 1 FROM cutover_message AS message, cutover_route AS route WHERE message.state = 'waiting' AND"
        " route.stage <> CASE direction WHEN 'to_ledger' THEN 'LEGACY_ONLY' ELSE 'NEW_ONLY' END"
    ):
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    assert product.query("SELECT last_error FROM cutover_message WHERE state = 'parked'") == []


@pytest.fixture(scope="module")
def travelled(
    _databases: Any,  # noqa: F811
    django_db_blocker: Any,
) -> Iterator[tuple[Client, str, list[str]]]:
    """The client, its account, and the references of what was done past the API; the product runs without
    the two apps."""
    with django_db_blocker.unblock():
        url = _databases.make(LEGACY.vendor)
        at_legacy(url, LEGACY.install)
    product = Wrapped(adapter=LEGACY.adapter, legacy_url=url)
    number = account_number()
    references = []
    try:
        product.start()
        client = Client(product.url, product.make_client("billing"))
        earn, spend = f"accounts/{number}/earn", f"accounts/{number}/spend"
        with django_db_blocker.unblock():
            at_legacy(url, lambda: call_directly("PR_POINT_EARN", number, "11", 500, "D", None))
            at_legacy(url, lambda: call_directly("PR_POINT_USE", number, "21", 30, reference="OLD-1"))
        references.append("OLD-1")
        for stage in STAGES:
            if stage != "LEGACY_ONLY":
                product.query("UPDATE cutover_route SET capture = true, epoch = epoch + 1")
                product.query("UPDATE cutover_route SET stage = %s, epoch = epoch + 1", [stage])
            client.do(earn, f"earn-{stage}", {"points": 100, "reason": "ORDER_REWARD"})
            done = client.do(spend, f"spend-{stage}", {"points": 40, "reason": "ORDER_PAYMENT"})
            client.do(f"operations/{done['id']}/cancel", f"part-{stage}", {"points": 15})
            if stage == "LEGACY_FIRST":
                with django_db_blocker.unblock():
                    at_legacy(url, lambda: call_directly("PR_POINT_USE", number, "21", 20, reference="OLD-2"))
                references.append("OLD-2")
                time.sleep(1.5)
            settle(product)
        product.query("UPDATE cutover_route SET finished_at = clock_timestamp(), epoch = epoch + 1")
        product.restart_web(POINTS_CUTOVER="false", LEGACY_DATABASE_URL="")
        client.url = product.url
        yield client, number, references
    finally:
        product.stop()


def test_old_keys_give_their_first_outcomes(travelled: tuple[Client, str, list[str]]) -> None:
    client, _, _ = travelled
    for path, key, body, first in client.sent:
        status, answer, is_replayed = client.post(path, key, body)
        assert (status, is_replayed, answer["id"]) == (201, True, first["id"])
        assert answer["lots"] == first["lots"]
    assert len(client.sent) == 3 * len(STAGES)


def test_what_was_done_in_every_stage_and_before_can_be_cancelled(
    travelled: tuple[Client, str, list[str]],
) -> None:
    client, number, references = travelled
    before = client.get(f"accounts/{number}/balance")["available"]
    assert before == 500 - 30 - 20 + 4 * (100 - 40 + 15)
    for path, key, _, first in list(client.sent):
        if path.endswith("/spend"):
            status, answer, _ = client.post(f"operations/{first['id']}/cancel", f"rest-of-{key}", {})
            assert (status, answer["points"]) == (201, 25), answer
    for reference in references:
        (found,) = client.get(f"operations?reference={reference}")["data"]
        status, answer, _ = client.post(f"operations/{found['id']}/cancel", f"undo-{reference}", {})
        assert (status, answer["points"]) == (201, found["points"]), answer
    for path, key, _, first in list(client.sent):
        if path.endswith("/earn"):
            status, answer, _ = client.post(f"operations/{first['id']}/cancel", f"undo-{key}", {})
            assert (status, answer["points"]) == (201, 100), answer

    assert client.get(f"accounts/{number}/balance")["available"] == 500


def test_gifts_are_given_again(travelled: tuple[Client, str, list[str]]) -> None:
    client, number, _ = travelled
    body = {"from": number, "to": account_number(), "points": 5, "reason": "GIFT"}
    assert client.post("transfers", "gift", body)[0] == 201
