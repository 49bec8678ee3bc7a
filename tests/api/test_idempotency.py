"""The same operation sent again with the same key is done once, in every way that can be sent again.

The rows are generated over the endpoints that take a key: a new one fails until it has its scenario here.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from ledger.models import Entry, Operation
from pointsystem.api.endpoints import ENDPOINTS
from tests.api import bad_inputs
from tests.api.caller import Api, written_rows
from tests.factories import account_number, idempotency_key

if TYPE_CHECKING:
    from pointsystem.embedded.stack import Processes


@dataclass
class Scenario:
    """One write that will succeed, the same with another body, and one that is refused until it is mended."""

    path: str
    body: dict[str, Any]
    other_body: dict[str, Any]
    refused_path: str
    refused_body: dict[str, Any]
    refused_code: str
    #: Makes what was refused possible, without changing its stored refusal.
    mend: Callable[[], Any]
    account: str


def _earn(api: Api) -> Scenario:
    from ledger import operations
    from ledger.models import AccountStatus

    account, blocked = account_number(), account_number()
    assert api.earn(blocked, 1).status == 201

    def turn(status: AccountStatus) -> None:
        operations.change_account_status(account_number=blocked, status=status, note="a test", actor="lee")

    turn(AccountStatus.BLOCKED)
    return Scenario(
        path=f"/api/v1/accounts/{account}/earn",
        body={"points": 10, "reason": "EVENT"},
        other_body={"points": 11, "reason": "EVENT"},
        refused_path=f"/api/v1/accounts/{blocked}/earn",
        refused_body={"points": 10, "reason": "EVENT"},
        refused_code="account_blocked",
        mend=lambda: turn(AccountStatus.OPEN),
        account=account,
    )


def _spend(api: Api) -> Scenario:
    account = account_number()
    assert api.earn(account, 100).status == 201
    return Scenario(
        path=f"/api/v1/accounts/{account}/spend",
        body={"points": 10, "reason": "ORDER_PAYMENT"},
        other_body={"points": 10, "reason": "ORDER_PAYMENT", "reference": "another"},
        refused_path=f"/api/v1/accounts/{account}/spend",
        refused_body={"points": 500, "reason": "ORDER_PAYMENT"},
        refused_code="insufficient_points",
        mend=lambda: api.earn(account, 1000),
        account=account,
    )


def _cancel(api: Api) -> Scenario:
    account = account_number()
    earned = api.earn(account, 100).json["id"]
    return Scenario(
        path=f"/api/v1/operations/{earned}/cancel",
        body={"points": 10},
        other_body={},
        refused_path=f"/api/v1/operations/{earned}/cancel",
        refused_body={"points": 101},
        refused_code="not_cancellable",
        mend=lambda: api.earn(account, 1000),
        account=account,
    )


def _transfer(api: Api) -> Scenario:
    giver, taker = account_number(), account_number()
    assert api.earn(giver, 100).status == 201
    return Scenario(
        path="/api/v1/transfers",
        body={"from": giver, "to": taker, "points": 10, "reason": "GIFT"},
        other_body={"from": giver, "to": f"{taker}.2", "points": 10, "reason": "GIFT"},
        refused_path="/api/v1/transfers",
        refused_body={"from": giver, "to": taker, "points": 500, "reason": "GIFT"},
        refused_code="insufficient_points",
        mend=lambda: api.earn(giver, 1000),
        account=giver,
    )


SCENARIOS = {"earn": _earn, "spend": _spend, "cancel": _cancel, "transfer": _transfer}
#: POSTs without the header: a batch carries a key in each item, a preview moves nothing.
WITHOUT_HEADER = {"batch", "spend_preview"}
NAMES = [endpoint.name for endpoint in ENDPOINTS if endpoint.takes_key]

every_write = pytest.mark.parametrize("name", NAMES)


def test_every_post_has_its_scenario() -> None:
    posts = {endpoint.name for endpoint in ENDPOINTS if endpoint.method == "POST"}

    assert posts == set(SCENARIOS) | WITHOUT_HEADER
    assert set(NAMES) == set(SCENARIOS)


@every_write
def test_first_and_again(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)

    first = api.post(scenario.path, scenario.body, key="k")
    after = (*written_rows(), api.available(scenario.account))
    again = api.post(scenario.path, scenario.body, key="k")

    assert first.status == 201
    assert "idempotency-replayed" not in first.headers
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert (*written_rows(), api.available(scenario.account)) == after


@every_write
def test_the_first_outcome_comes_again_whatever_has_happened_since(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    first = api.post(scenario.path, scenario.body, key="k")

    api.earn(scenario.account, 77)
    api.cancel(first.json["id"], points=5)
    again = api.post(scenario.path, scenario.body, key="k")

    assert again.body == first.body


@every_write
def test_neither_order_of_members_nor_spelling_matters(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    body = {**scenario.body, "reference": "r-1"}

    first = api.post(scenario.path, body, key="k")
    text = (
        "\n { " + ", ".join(f'"{key}" : {json.dumps(value)}' for key, value in reversed(body.items())) + "}  "
    )
    again = api.post(scenario.path, text.encode(), key='"k"')

    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"


def test_one_instant_in_two_zones_and_one_text_in_two_forms_are_the_same(api: Api, account: str) -> None:
    first = api.earn(
        account, 10, key="k", expires_at="2026-06-01T00:00:00+09:00", metadata={"a": "\u00e9", "b": 1}
    )

    again = api.earn(
        account, 10, key="k", expires_at="2026-05-31T15:00:00.000Z", metadata={"b": 1, "a": "e\u0301"}
    )

    assert (again.status, again.body) == (first.status, first.body)


@every_write
def test_another_body_is_refused(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    first = api.post(scenario.path, scenario.body, key="k")
    after = (*written_rows(), api.available(scenario.account))

    other = api.post(scenario.path, scenario.other_body, key="k")

    assert first.status == 201
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert "operation_id" not in other.json
    assert (*written_rows(), api.available(scenario.account)) == after


@every_write
def test_another_endpoint_is_refused(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    assert api.post(scenario.path, scenario.body, key="k").status == 201
    others = [SCENARIOS[other](api) for other in NAMES if other != name]
    after = written_rows()

    replies = [api.post(other.path, other.body, key="k") for other in others]

    assert {(reply.status, reply.code) for reply in replies} == {(422, "idempotency_key_reused")}
    assert written_rows() == after


@every_write
def test_the_same_key_of_another_client_is_another_key(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    other = Api(scopes=[*Api().scopes, "operations:any"])

    first = api.post(scenario.path, scenario.body, key="k")
    second = other.post(scenario.path, scenario.body, key="k")

    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]
    assert "idempotency-replayed" not in second.headers


@every_write
def test_a_stored_refusal_comes_again_even_when_it_would_succeed_now(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)

    first = api.post(scenario.refused_path, scenario.refused_body, key="k", X_Request_ID="first")
    scenario.mend()
    after = written_rows()
    again = api.post(scenario.refused_path, scenario.refused_body, key="k", X_Request_ID="again")

    assert first.code == scenario.refused_code
    assert (again.status, again.body) == (first.status, first.body)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert (first.headers["x-request-id"], again.headers["x-request-id"]) == ("first", "again")
    assert first.json["request_id"] == first.json["operation_id"]
    assert written_rows() == after


@every_write
def test_after_an_error_of_our_own_the_key_tells_what_was_done(
    api: Api, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is lost after the operation was posted: the worst moment."""
    from pointsystem.api import responses

    scenario = SCENARIOS[name](api)
    operation, failures = responses.operation, [RuntimeError("the answer could not be written")]

    def failing_once(record: Any) -> Any:
        if failures:
            raise failures.pop()
        return operation(record)

    monkeypatch.setattr(responses, "operation", failing_once)
    before = Operation.objects.count()
    failed = api.post(scenario.path, scenario.body, key="k")
    again = api.post(scenario.path, scenario.body, key="k")

    assert (failed.status, failed.code) == (500, "internal_error")
    assert (again.status, again.headers["idempotency-replayed"]) == (201, "true")
    assert Operation.objects.count() == before + 1


@every_write
def test_after_an_error_before_anything_was_done_it_is_done(
    api: Api, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger import face

    scenario = SCENARIOS[name](api)
    execute, failures = face.execute, [RuntimeError("not today")]

    def failing_once(command: Any) -> Any:
        if failures:
            raise failures.pop()
        return execute(command)

    monkeypatch.setattr(face, "execute", failing_once)
    before = written_rows()
    failed = api.post(scenario.path, scenario.body, key="k")
    assert written_rows() == before
    again = api.post(scenario.path, scenario.body, key="k")

    assert (failed.status, failed.code) == (500, "internal_error")
    assert (again.status, "idempotency-replayed" in again.headers) == (201, False)


@every_write
def test_without_a_key_nothing_is_done(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    before = written_rows()

    reply = api.post(scenario.path, scenario.body, key=None)

    assert (reply.status, reply.code) == (400, "idempotency_key_missing")
    assert written_rows() == before


@every_write
def test_a_malformed_key_is_refused(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    before = written_rows()

    for shown, key in bad_inputs.KEYS.items():
        reply = api.post(scenario.path, scenario.body, key=None, Idempotency_Key=key)
        assert (reply.status, reply.code) == (400, "idempotency_key_invalid"), shown

    assert written_rows() == before


@pytest.mark.parametrize(
    ("bare", "quoted"),
    [
        ("a", '"a"'),
        ("a b", '"a b"'),
        ('a"b', r'"a\"b"'),
        (r"a\b", r'"a\\b"'),
        ("k" * 255, '"' + "k" * 255 + '"'),
        ("!#$%&'()*+-./:;<=>?@[]^_`{|}~", '"!#$%&\'()*+-./:;<=>?@[]^_`{|}~"'),
    ],
)
def test_bare_and_quoted_are_one_key(api: Api, account: str, bare: str, quoted: str) -> None:
    first = api.earn(account, 10, key=bare)
    again = api.earn(account, 10, key=quoted)
    padded = api.earn(account, 10, key=f"  {bare}\t")

    assert first.status == 201
    assert first.body == again.body == padded.body
    assert Operation.objects.get(id=first.json["id"]).idempotency_key == bare


@every_write
def test_what_was_refused_before_execution_is_not_stored(api: Api, name: str) -> None:
    scenario = SCENARIOS[name](api)
    without_scope = Api(scopes=["points:read"])

    refused = [
        api.post(scenario.path, {**scenario.body, "points": 0}, key="k"),
        api.post(scenario.path, scenario.body, key="k", Content_Type="text/plain"),
        api.post(scenario.path, scenario.body, key="k", Accept="text/html"),
        api.post(scenario.path, b"x" * 70_000, key="k"),
        without_scope.post(scenario.path, scenario.body, key="k"),
    ]
    done = api.post(scenario.path, scenario.body, key="k")

    assert [reply.status for reply in refused] == [400, 415, 406, 413, 403]
    assert (done.status, "idempotency-replayed" in done.headers) == (201, False)


# --- Through real servers -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def dying_server_url(processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A web server whose processes kill themselves after the commit, before the answer goes out."""
    from pointsystem.embedded.processes import Supervisor
    from pointsystem.embedded.stack import Processes

    directory: Path = tmp_path_factory.mktemp("dying")
    environment = {**processes._environment, "POINTS_CRASH_POINT": "announce.before_tombstone:1"}
    supervisor = Supervisor(say=lambda text: None)
    dying = Processes(environment=environment, directory=directory, supervisor=supervisor)
    yield dying.start_web()[1]
    supervisor.stop()


@every_write
def test_after_a_kill_behind_the_commit_the_key_tells_the_outcome(
    committed_db: None, live_server_url: str, dying_server_url: str, name: str
) -> None:
    api = Api()
    scenario = SCENARIOS[name](api)
    key = idempotency_key()
    before = _entries(scenario)

    _wait_until_alive(dying_server_url)
    with pytest.raises(requests.RequestException):
        _post(dying_server_url, api, scenario, key)
    first = _post(live_server_url, api, scenario, key)
    again = _post(live_server_url, api, scenario, key)

    assert first.status_code == 201
    assert first.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    assert _entries(scenario) == before + 1


@every_write
def test_twenty_at_once_are_one(committed_db: None, live_server_url: str, name: str) -> None:
    api = Api()
    scenario = SCENARIOS[name](api)
    key = idempotency_key()
    before = _entries(scenario)
    start = threading.Barrier(20)

    def at_once(_: int) -> requests.Response:
        start.wait()
        return _post(live_server_url, api, scenario, key)

    with ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(at_once, range(20)))

    # Whoever waited longer than the lock timeout is told to come again.
    assert {response.status_code for response in responses} <= {201, 409}
    done = [response for response in responses if response.status_code == 201]
    assert len({response.content for response in done}) == 1
    assert sum("Idempotency-Replayed" not in response.headers for response in done) == 1
    assert _entries(scenario) == before + 1


def _post(url: str, api: Api, scenario: Scenario, key: str) -> requests.Response:
    return requests.post(
        url + scenario.path,
        json=scenario.body,
        headers={"Authorization": f"Bearer {api.key}", "Idempotency-Key": key},
        timeout=20,
    )


def _wait_until_alive(url: str) -> None:
    """granian starts a process again that was killed; it takes a moment."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert requests.get(f"{url}/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            assert time.monotonic() < deadline, "no serving process came back"
            time.sleep(0.05)
        else:
            return


def _entries(scenario: Scenario) -> int:
    return Entry.objects.filter(account__account_number=scenario.account).count()
