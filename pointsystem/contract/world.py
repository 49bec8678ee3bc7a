"""What a case works with: fresh names, clients that speak the contract, and the words of a specification."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pointsystem.contract import forms
from pointsystem.contract.capabilities import MEANINGS, REPORTS, Capability
from pointsystem.contract.client import Client, Exchange, Headers
from pointsystem.contract.registry import Case
from pointsystem.contract.verdicts import Broken, Skipped, Unavailable, equal

Answer = TypeVar("Answer")
Json = dict[str, Any]

#: How long what was accepted, or must be asked again, may take to be done.
PATIENCE_SECONDS: Final = 30.0
#: Used where a case sends a key of its own making.
FRESH: Final = ""


class Caller:
    """One client of the API: each method sends one request and judges nothing but its envelope."""

    def __init__(self, client: Client, hear: Callable[[Exchange], None]) -> None:
        self._client = client
        self._hear = hear

    def send(self, method: str, path: str, *, body: bytes | None = None, headers: Headers = ()) -> Exchange:
        """Raises NoAnswer, Broken, and Unavailable for what the side that decides cannot represent."""
        exchange = self._client.send(method, path, body=body, headers=headers)
        self._hear(exchange)
        forms.of_every_answer(exchange)
        if exchange.code == "not_available_in_stage":
            problem = forms.refused(exchange, "not_available_in_stage")
            raise Unavailable(str(problem["detail"]), exchange)
        return exchange

    def get(self, path: str, headers: Headers = ()) -> Exchange:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, body: Any, *, key: str | None = FRESH, headers: Headers = ()) -> Exchange:
        """POST `body` (bytes as they are) with `key`, a fresh one, or without (None)."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = list(headers)
        if "content-type" not in {name.lower() for name, _ in given}:
            given.append(("Content-Type", "application/json"))
        if key is not None:
            given.append(("Idempotency-Key", key or str(uuid4())))
        return self.send("POST", path, body=content, headers=given)

    # --- the calls ---------------------------------------------------------------------------------------
    def earn(
        self, account: str, points: Any, *, key: str | None = FRESH, headers: Headers = (), **members: Any
    ) -> Exchange:
        body = {"points": points, "reason": "ORDER_REWARD", **members}
        return self.post(earn_path(account), body, key=key, headers=headers)

    def spend(
        self, account: str, points: Any, *, key: str | None = FRESH, headers: Headers = (), **members: Any
    ) -> Exchange:
        body = {"points": points, "reason": "ORDER_PAYMENT", **members}
        return self.post(spend_path(account), body, key=key, headers=headers)

    def cancel(
        self, operation: str, *, key: str | None = FRESH, headers: Headers = (), **members: Any
    ) -> Exchange:
        return self.post(cancel_path(operation), members, key=key, headers=headers)

    def transfer(
        self, giver: str, taker: str, points: Any, *, key: str | None = FRESH, **members: Any
    ) -> Exchange:
        body = {"from": giver, "to": taker, "points": points, "reason": "GIFT", **members}
        return self.post("/api/v1/transfers", body, key=key)

    def preview(self, account: str, points: Any) -> Exchange:
        return self.post(f"{spend_path(account)}/preview", {"points": points}, key=None)

    def batch(self, *items: Any) -> list[Json]:
        """The results of a batch, one for each item, each of the form that it must have."""
        exchange = self.post("/api/v1/operations:batch", {"operations": list(items)}, key=None)
        results: list[Json] = forms.well_formed(
            "a batch", forms.answered(exchange, 200), {"results": lambda v: isinstance(v, list)}, exchange
        )["results"]
        equal("number of results", len(results), len(items), exchange)
        for result in results:
            self._judge_result(result, exchange)
        return results

    @staticmethod
    def _judge_result(result: Any, exchange: Exchange) -> None:
        members: forms.Members = {"status": forms.is_whole}
        if isinstance(result, dict) and "problem" in result:
            code = str(result["problem"].get("code"))
            if code not in forms.STATUSES:
                raise Broken(f"a problem with the code {code}", exchange)
            members["problem"] = lambda value: bool(forms.problem(value, code, exchange))
            forms.well_formed("a result", result, members, exchange)
            equal("status of a result", result["status"], forms.STATUSES[code], exchange)
            if code == "not_available_in_stage":
                raise Unavailable(str(result["problem"]["detail"]), exchange)
            return
        members["operation"] = lambda value: bool(forms.operation(value, exchange))
        forms.well_formed("a result", result, members, exchange)
        wanted = 202 if result["operation"]["state"] == "accepted" else 201
        equal("status of a result", result["status"], wanted, exchange)

    def operation(self, operation_id: str) -> Json:
        exchange = self.get(operation_path(operation_id))
        return forms.operation(forms.answered(exchange, 200), exchange)

    def balance(self, account: str, query: str = "") -> Json:
        exchange = self.get(balance_path(account) + query)
        found = forms.well_formed("a balance", forms.answered(exchange, 200), forms.BALANCE, exchange)
        equal("account_number", found["account_number"], account, exchange)
        return found

    def available(self, account: str) -> int:
        return int(self.balance(account)["available"])

    def page(self, path: str, members: forms.Members | None) -> Json:
        """One page, its rows of the form `members`; None where the rows are operations."""
        exchange = self.get(path)
        found = forms.page(forms.answered(exchange, 200), exchange)
        for row in found["data"]:
            if members is None:
                forms.operation(row, exchange)
            else:
                forms.well_formed("a row", row, members, exchange)
        return found

    def lots(self, account: str, query: str = "") -> list[Json]:
        return list(self.page(lots_path(account) + query, forms.LOT)["data"])

    def history(self, account: str, query: str = "?page_size=200") -> list[Json]:
        return list(self.page(history_path(account) + query, forms.LINE)["data"])


class World:
    """One case under way."""

    def __init__(self, case: Case, client: Client, other: Client | None = None) -> None:
        self._case = case
        self._clients = [client, *([other] if other else [])]
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []
        self.cannot_tell: set[Capability] = set()
        self.api = Caller(client, self._hear)
        self._other = Caller(other, self._hear) if other else None

    def _hear(self, exchange: Exchange) -> None:
        with self._lock:
            self._exchanges.append(exchange)

    @property
    def last_exchange(self) -> Exchange | None:
        return self._exchanges[-1] if self._exchanges else None

    @property
    def other(self) -> Caller:
        """Another client of the same API. Raises Skipped where the run was given one key only."""
        if self._other is None:
            raise Skipped("needs a second client (--other-key)")
        return self._other

    # --- names that nobody used before -------------------------------------------------------------------
    @staticmethod
    def account() -> str:
        """Short and in one case: what any legacy can keep."""
        return f"ct-{uuid4().hex[:14]}"

    @staticmethod
    def reference() -> str:
        return f"ct-{uuid4().hex[:14]}"

    @staticmethod
    def key() -> str:
        return str(uuid4())

    def now(self) -> datetime:
        """The moment by the clock of the server, which may be another than ours."""
        return datetime.fromisoformat(self.api.balance(self.account())["as_of"])

    def in_days(self, days: int) -> str:
        """Midnight in Seoul, where the programme's days begin by default, after so many days: what a legacy
        that keeps whole days can keep too."""
        return stamp(self.now().replace(hour=15, minute=0, second=0, microsecond=0) + timedelta(days=days))

    def account_with(self, *points: int, **members: Any) -> str:
        """A fresh account that earned each of `points`."""
        account = self.account()
        for each in points:
            self.earned(account, each, **members)
        return account

    # --- what must succeed -------------------------------------------------------------------------------
    def done(self, exchange: Exchange) -> Json:
        """The operation of a write that was done at once, and the headers that go with it."""
        operation = forms.operation(forms.answered(exchange, 201), exchange)
        equal("state", operation["state"], "completed", exchange)
        equal("Location", exchange.headers.get("location"), operation_path(operation["id"]), exchange)
        for name, capability in (
            ("lots", Capability.REPORTS_LOTS),
            ("balance_after", Capability.REPORTS_BALANCE_AFTER),
        ):
            if operation[name] is None:
                self.cannot_tell.add(capability)
        return operation

    def earned(self, account: str, points: int, **members: Any) -> Json:
        return self.done(self.api.earn(account, points, **members))

    def spent(self, account: str, points: int, **members: Any) -> Json:
        return self.done(self.api.spend(account, points, **members))

    def cancelled(self, operation: Json, **members: Any) -> Json:
        return self.done(self.api.cancel(operation["id"], **members))

    def given(self, giver: str, taker: str, points: int, **members: Any) -> Json:
        return self.done(self.api.transfer(giver, taker, points, **members))

    def has(self, account: str, points: int) -> None:
        """The account has exactly `points` to spend."""
        equal("available", self.api.available(account), points, self.last_exchange)

    # --- what an implementation may not be able to tell --------------------------------------------------
    def told(self, capability: Capability, value: Any) -> bool:
        """Whether `value` was told. Null is an answer only in a case that names the capability: it is noted,
        and what would have been compared with it is left out."""
        if value is not None:
            return True
        if capability not in self._case.needs & REPORTS:
            raise Broken(f"null, though this case needs it told: {capability}", self.last_exchange)
        self.cannot_tell.add(capability)
        return False

    def tells(self, capability: Capability, what: str, got: Any, wanted: Any) -> None:
        """`got` is `wanted`, or null where the side that decides cannot tell."""
        if self.told(capability, got):
            equal(what, got, wanted, self.last_exchange)

    def does_otherwise(self, capability: Capability) -> Unavailable:
        """To be raised where another way of doing it was seen that is allowed as well."""
        return Unavailable(f"not so here: {MEANINGS[capability]}", self.last_exchange, capability=capability)

    # --- what must not change ----------------------------------------------------------------------------
    @contextmanager
    def nothing_changes(self, *accounts: str) -> Iterator[None]:
        """The balance and the history of `accounts` are the same after as before."""
        before = [self._state(account) for account in accounts]
        yield
        for account, state in zip(accounts, before, strict=True):
            equal(f"[balance, history] of {account}", self._state(account), state, self.last_exchange)

    def _state(self, account: str) -> Json:
        """A history that cannot be read is one proof less, which is noted, and no reason to give up."""
        balance = self.api.balance(account)
        lines: list[Json] | None = None
        if Capability.HISTORY not in self.cannot_tell:
            try:
                lines = self.api.history(account)
            except Unavailable:
                self.cannot_tell.add(Capability.HISTORY)
        return {"available": balance["available"], "history": lines}

    # --- at once, and later ------------------------------------------------------------------------------
    def at_once(self, calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
        """What `calls` return, each made by a thread of its own and all at the same moment."""
        start = threading.Barrier(len(calls))

        def run(call: Callable[[], Answer]) -> Answer:
            start.wait()
            try:
                return call()
            finally:
                self._close_connections()

        with ThreadPoolExecutor(len(calls)) as threads:
            return list(threads.map(run, calls))

    def until_decided(self, send: Callable[[], Exchange]) -> Exchange:
        """Send the same request again while the answer is to come again, as a client does."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            exchange = send()
            if exchange.code not in forms.LATER:
                return exchange
            if time.monotonic() > ends:
                raise Broken(f"still {exchange.code} after {PATIENCE_SECONDS:g} s", exchange)
            time.sleep(min(float(exchange.headers["retry-after"]), 2.0))

    def ended(self, operation_id: str, *, state: str = "completed") -> Json:
        """The operation as it ends, asked for until it is neither accepted nor pending."""
        ends = time.monotonic() + PATIENCE_SECONDS
        while True:
            operation = self.api.operation(operation_id)
            if operation["state"] not in ("accepted", "pending"):
                equal("state", operation["state"], state, self.last_exchange)
                return operation
            if time.monotonic() > ends:
                raise Broken(f"still {operation['state']} after {PATIENCE_SECONDS:g} s", self.last_exchange)
            time.sleep(0.1)

    def close(self) -> None:
        self._close_connections()

    def _close_connections(self) -> None:
        for client in self._clients:
            client.close()


def stamp(instant: datetime) -> str:
    """`instant` as answers write it: RFC 3339 in UTC, without a fraction that is zero."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


# --- addresses ------------------------------------------------------------------------------------------
def _of_account(account: str, what: str) -> str:
    return f"/api/v1/accounts/{quote(account, safe='')}/{what}"


def earn_path(account: str) -> str:
    return _of_account(account, "earn")


def spend_path(account: str) -> str:
    return _of_account(account, "spend")


def balance_path(account: str) -> str:
    return _of_account(account, "balance")


def lots_path(account: str) -> str:
    return _of_account(account, "lots")


def history_path(account: str) -> str:
    return _of_account(account, "history")


def operation_path(operation_id: str) -> str:
    return f"/api/v1/operations/{quote(operation_id, safe='')}"


def cancel_path(operation_id: str) -> str:
    return f"{operation_path(operation_id)}/cancel"
