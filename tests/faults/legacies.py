"""Whole products over legacies of every kind, each behind a proxy, with its rows counted past the product."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from tests.legacy_bridge.proxied import COMMIT, Beside
from tests.tcp_proxy import TcpProxy
from tests.wrapped import LEGACIES, Wrapped, at_legacy

#: A call of the legacy may take so long, and the product a second more to cut it.
TIMEOUT_SECONDS = 1.0
SETTINGS = {
    "POINTS_LEGACY_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
    "POINTS_LOCK_TIMEOUT_SECONDS": "0.3",
    "LOG_LEVEL": "INFO",
}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Kind:
    """How a legacy is settled, and how a test sees and disturbs it from the side."""

    name: str
    #: The one in `tests.wrapped.LEGACIES`, and the adapter that lies when it is told to.
    legacy: str
    adapter: str
    #: Bytes of the request that grants points.
    call: bytes
    #: Points of each row of an account, oldest first.
    rows: str
    #: Keeps every operation of an account waiting.
    lock: str
    #: Our id goes into the marker table, and nothing is done before the COMMIT.
    is_by_marker: bool = False
    keeps_spends: bool = True

    @property
    def vendor(self) -> str:
        return next(each.vendor for each in LEGACIES if each.name == self.legacy)


def _reference(name: str, legacy: str, schema: str) -> Kind:
    return Kind(
        name=name,
        legacy=legacy,
        adapter=f"tests.faults.lying.{'MariaDB' if legacy.endswith('mariadb') else 'PostgreSQL'}Reference",
        call=f"CALL {schema}PR_POINT_EARN".encode(),
        rows=f"SELECT AMT FROM {schema}PT_HIST WHERE MBR_NO = %s ORDER BY HIST_SEQ",
        lock=f"SELECT * FROM {schema}PT_MBR WHERE MBR_NO = %s FOR UPDATE",
    )


KINDS = (
    _reference("by-id-postgresql", "reference-postgresql", "legacy."),
    _reference("by-id-mariadb", "reference-mariadb", ""),
    Kind(
        name="by-marker-mariadb",
        legacy="status-strings",
        adapter="tests.faults.lying.StatusStrings",
        call=b"CALL p_grant",
        rows="SELECT points FROM movement WHERE member = %s ORDER BY turn",
        lock="SELECT * FROM wallet WHERE member = %s FOR UPDATE",
        is_by_marker=True,
    ),
    Kind(
        name="by-marker-postgresql",
        legacy="exceptions",
        adapter="tests.faults.lying.Exceptions",
        call=b"loyalty.earn",
        rows="SELECT points FROM loyalty.lot WHERE member_no = %s ORDER BY lot_no",
        lock="SELECT * FROM loyalty.member WHERE member_no = %s FOR UPDATE",
        is_by_marker=True,
        keeps_spends=False,
    ),
    Kind(
        name="by-new-row",
        legacy="signals",
        adapter="tests.faults.lying.Signals",
        call=b"CALL accrue",
        rows="SELECT points FROM log WHERE card_no = %s ORDER BY log_no",
        lock="SELECT * FROM card WHERE card_no = %s FOR UPDATE",
    ),
)


def skip_unless_thorough(request: pytest.FixtureRequest, product: Product, *, quick: str) -> None:
    """What takes seconds for each kind is shown on one of them in a quick run, and on all with `--kills`."""
    if request.config.getoption("--kills") == 1 and product.kind.name not in quick.split():
        pytest.skip(f"a quick run shows it on {quick} (--kills 2 shows it on every kind)")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def code(self) -> str | None:
        return self.body.get("code") if isinstance(self.body, dict) else None

    @property
    def is_replayed(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"

    def __repr__(self) -> str:
        return f"<{self.status} {self.code or ''} after {self.seconds:.2f} s: {self.body}>"


@dataclass
class Asked:
    """One operation that a client asks for, always with the same key."""

    account: str
    points: int
    verb: str = "earn"
    reference: str | None = None
    key: str = field(default_factory=lambda: str(uuid4()))


class Product:
    """The product over one kind of legacy. Nothing in it is shared with another."""

    def __init__(self, kind: Kind, legacy_url: str, *, web_processes: int = 1) -> None:
        self.kind = kind
        parts = urlsplit(legacy_url)
        self.proxy = TcpProxy(str(parts.hostname), int(parts.port or 3306))
        place = f"{parts.netloc.rpartition('@')[0]}@{self.proxy.host}:{self.proxy.port}"
        legacy = next(each for each in LEGACIES if each.name == kind.legacy)
        at_legacy(legacy_url, legacy.install)
        self.beside = Beside(legacy_url)
        self.wrapped = Wrapped(
            adapter=kind.adapter,
            legacy_url=urlunsplit(parts._replace(netloc=place)),
            settings=SETTINGS,
            web_processes=web_processes,
        )
        self.api_key = ""

    def start(self) -> Product:
        self.wrapped.start()
        self.api_key = self.wrapped.make_client("shop")
        return self

    def stop(self) -> None:
        self.proxy.stop()
        self.wrapped.stop()
        self.beside.close()

    # --- what a client asks -------------------------------------------------------------------------------
    def request(self, method: str, path: str, body: Any = None, *, url: str = "", **headers: str) -> Answer:
        place = urlsplit(url or self.wrapped.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        sent = {"Authorization": f"Bearer {self.api_key}", "Content-Type": "application/json"}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        started = time.monotonic()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            response = connection.getresponse()
            text = response.read()
            took = time.monotonic() - started
            told = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, told, json.loads(text) if text else None, took)
        finally:
            connection.close()

    def ask(self, asked: Asked, *, url: str = "", **headers: str) -> Answer:
        body: dict[str, Any] = {"points": asked.points}
        body["reason"] = "ORDER_REWARD" if asked.verb == "earn" else "ORDER_PAYMENT"
        if asked.reference is not None:
            body["reference"] = asked.reference
        path = f"/api/v1/accounts/{asked.account}/{asked.verb}"
        return self.request("POST", path, body, url=url, Idempotency_Key=asked.key, **headers)

    def ask_balance(self, account: str = "nobody") -> Answer:
        return self.request("GET", f"/api/v1/accounts/{account}/balance")

    def operation(self, operation_id: str) -> Answer:
        return self.request("GET", f"/api/v1/operations/{operation_id}")

    def until_settled(self, asked: Asked, *, seconds: float = 40.0) -> Answer:
        """Ask with the same key until there is a definite answer."""
        give_up_at = time.monotonic() + seconds
        while True:
            answer = self.ask(asked)
            if answer.status not in (409, 503) or answer.code == "not_cancellable":
                return answer
            assert time.monotonic() < give_up_at, f"no definite answer to {asked}: {answer}"
            time.sleep(0.1)

    # --- what is so ---------------------------------------------------------------------------------------
    @property
    def last(self) -> bytes:
        """Bytes of the request with which the legacy does it for good."""
        if not self.kind.is_by_marker:
            return self.kind.call
        return COMMIT["postgresql" if self.beside.is_postgresql else "mysql"]

    def new_account(self) -> str:
        return f"f-{next(_numbers)}-{uuid4().hex[:8]}"

    def legacy_rows(self, account: str) -> list[int]:
        return [int(points) for (points,) in self.beside.run(self.kind.rows, account)]

    def noted(self, key: str) -> list[tuple[Any, ...]]:
        """State of the operation, and of its intent with the number of attempts and who ended it."""
        return self.wrapped.query(
            "SELECT operation.state, intent.state, intent.attempts, intent.settled_by"
            " FROM ledger_operation AS operation"
            " LEFT JOIN cutover_intent AS intent ON intent.operation_id = operation.id"
            " WHERE operation.idempotency_key = %s",
            [key],
        )

    def server_errors(self) -> list[str]:
        """What became of requests that nobody thought of."""
        return [line for line in self.wrapped.log.splitlines() if "the request failed" in line]

    def did_once(self, asked: Asked) -> None:
        """The legacy and the product agree that it was done, and once."""
        assert self.legacy_rows(asked.account) == [asked.points], asked
        ((operation, intent, _, _),) = self.noted(asked.key)
        assert (operation, intent) == ("completed", "done"), asked


class UnderWay:
    """A request whose answer is still to come."""

    def __init__(self, product: Product, asked: Asked) -> None:
        self._answers: list[Answer] = []
        self._thread = threading.Thread(target=lambda: self._answers.append(product.ask(asked)), daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def answer(self) -> Answer:
        self._thread.join(30)
        return self._answers[0]


class Products:
    """One product at a time is worked on, and the next one is started meanwhile: starting takes long.

    One thread starts them all, and lives as long as they: Linux ends a child with the thread that made it.
    """

    def __init__(self, kinds: Sequence[Kind], make_database: Callable[[str], str]) -> None:
        self._kinds = list(kinds)
        self._make_database = make_database
        self._starter = ThreadPoolExecutor(max_workers=1)
        self._started: dict[str, Future[Product]] = {}

    def get(self, kind: Kind) -> Product:
        started = self._start(kind)
        after = self._kinds.index(kind) + 1
        try:
            return started.result()
        finally:
            for following in self._kinds[after : after + 1]:
                self._start(following)

    def _start(self, kind: Kind) -> Future[Product]:
        if kind.name not in self._started:
            self._started[kind.name] = self._starter.submit(self._make, kind)
        return self._started[kind.name]

    def _make(self, kind: Kind) -> Product:
        product = Product(kind, self._make_database(kind.vendor))
        try:
            return product.start()
        except BaseException:
            product.stop()
            raise

    def put_away(self, kind: Kind) -> None:
        self._started.pop(kind.name).result().stop()

    def stop(self) -> None:
        for started in self._started.values():
            with suppress(BaseException):
                started.result().stop()
        self._starter.shutdown()
