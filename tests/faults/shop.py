"""Clients that never give up: each asks until it has a definite answer, always with the same key."""

import http.client
import json
import random
import threading
import time
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from tests.faults.client_log import Attempted, ClientLog

#: Answers after which the outcome is not known yet, or was not kept: ask again.
AGAIN = {409, 500, 502, 503, 504}


class Shop:
    """`clients` threads on `accounts` accounts, until `stop`; then `join` waits for the last answers."""

    def __init__(
        self, *, url: str, key: str, log: ClientLog, accounts: list[str], clients: int, seed: int
    ) -> None:
        self._place = urlsplit(url)
        self._key = key
        self._log = log
        self._accounts = accounts
        self._stopping = threading.Event()
        self.errors: list[str] = []
        self.unavailable_answers = 0
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(seed * 1000 + number),), daemon=True)
            for number in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=90)
            if thread.is_alive():
                self.errors.append("a client has had no definite answer for 90 seconds")

    def _run(self, rng: random.Random) -> None:
        connection: http.client.HTTPConnection | None = None
        spends: list[Attempted] = []
        while not self._stopping.is_set():
            operation = self._next(rng, spends)
            deadline = time.monotonic() + 80
            while operation.ended == "open" and time.monotonic() < deadline:
                self._log.sending(operation)
                try:
                    connection = connection or http.client.HTTPConnection(
                        str(self._place.hostname), self._place.port, timeout=15
                    )
                    status, body = self._ask(connection, operation)
                except (OSError, http.client.HTTPException, ValueError):
                    connection = None
                    time.sleep(0.05)
                    continue
                if status in AGAIN:
                    self.unavailable_answers += 1
                    if status == 500:
                        self.errors.append(f"500: {body}")
                    time.sleep(0.05)
                    continue
                self._log.answered(operation, status=status, body=body)
            if operation.kind == "spend" and operation.ended == "ok":
                spends.append(operation)
            # Every now and then the answer got lost on the way: the same request again.
            if operation.ended == "ok" and rng.random() < 0.1 and connection is not None:
                try:
                    status, body = self._ask(connection, operation)
                    if status not in AGAIN:
                        self._log.answered(operation, status=status, body=body)
                except (OSError, http.client.HTTPException, ValueError):
                    connection = None

    def _next(self, rng: random.Random, spends: list[Attempted]) -> Attempted:
        kind = rng.choices(["earn", "spend", "cancel"], [5, 4, 2])[0]
        if kind == "cancel" and spends:
            spend = spends.pop(rng.randrange(len(spends)))
            return Attempted(
                key=str(uuid4()),
                kind="cancel",
                account_number=spend.account_number,
                points=rng.randint(1, spend.points),
                cancels=spend.operation_id,
            )
        return Attempted(
            key=str(uuid4()),
            kind="earn" if kind == "cancel" else kind,
            account_number=rng.choice(self._accounts),
            points=rng.randint(1, 40),
        )

    def _ask(self, connection: http.client.HTTPConnection, operation: Attempted) -> tuple[int, Any]:
        body: dict[str, Any] = {"points": operation.points}
        if operation.kind == "cancel":
            path = f"/api/v1/operations/{operation.cancels}/cancel"
        else:
            path = f"/api/v1/accounts/{operation.account_number}/{operation.kind}"
            body["reason"] = "ORDER_REWARD" if operation.kind == "earn" else "ORDER_PAYMENT"
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Idempotency-Key": operation.key,
        }
        connection.request("POST", path, body=json.dumps(body), headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
