"""Services that call the API: several requests under way at once, each over a connection that is kept.

A call that found no answer, or an answer that says "again", is made again with the same key, as a good client
does; what it did is then known by the key.
"""

import http.client
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from pointsystem.demo.answers import Answer
from pointsystem.demo.procedures import Procedures

Item = TypeVar("Item")
Result = TypeVar("Result")

GIVE_UP_SECONDS: Final = 60.0
_TIMEOUT_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0
_AGAIN_STATUSES: Final = frozenset({429, 500, 502, 503, 504})
_AGAIN_CODES: Final = frozenset({"operation_in_progress"})
_FROZEN: Final = "spending_frozen"


class Unanswered(Exception):
    """A call got no final answer within GIVE_UP_SECONDS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `name` is what the report measures it under; `service` says whose API key it carries."""

    name: str
    service: str
    method: str
    path: str
    body: Mapping[str, Any] | None = None
    key: str | None = None
    is_async: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A call from its first attempt to its final answer, asking again included; by the monotonic clock."""

    name: str
    began: float
    seconds: float
    #: A freeze refused it meanwhile: it waited for the end of the freeze, not for a switch.
    met_freeze: bool = False

    @property
    def ended(self) -> float:
        return self.began + self.seconds


@dataclass(slots=True)
class Measurements:
    """What one or more callers saw: seconds of every exchange by name, and how often they asked again."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sent: list[Sent] = field(default_factory=list)
    #: By the code of the answer, or the kind of the failure.
    asked_again: Counter[str] = field(default_factory=Counter)
    last_trouble: str = ""

    def add(self, other: "Measurements") -> None:
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.sent += other.sent
        self.asked_again.update(other.asked_again)
        self.last_trouble = other.last_trouble or self.last_trouble

    @property
    def exchanges(self) -> int:
        return sum(map(len, self.seconds.values()))


class Caller:
    """One connection to the API, and one to the legacy where it is needed; used by one thread at a time."""

    def __init__(self, *, base_url: str, keys: Mapping[str, str], legacy_url: str) -> None:
        place = urlsplit(base_url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._keys = keys
        self._legacy_url = legacy_url
        self._connection: http.client.HTTPConnection | None = None
        self._procedures: Procedures | None = None
        self.measured = Measurements()

    @property
    def procedures(self) -> Procedures:
        """The service's own connection to the legacy."""
        if self._procedures is None:
            self._procedures = Procedures(self._legacy_url)
        return self._procedures

    def send(self, call: Call, *, final: Collection[str] = ()) -> Answer:
        """The final answer to `call`; one with a code of `final` is final too. Raises Unanswered."""
        began = time.monotonic()
        pause_seconds = _FIRST_PAUSE_SECONDS
        met_freeze = False
        while True:
            try:
                answer = self._exchange(call)
            except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
                self.close_connection()
                self._note_trouble(call, type(error).__name__, str(error))
            else:
                code = answer.text("code") or ""
                if code in final or not _asks_for_patience(answer):
                    seconds = time.monotonic() - began
                    self.measured.sent.append(
                        Sent(name=call.name, began=began, seconds=seconds, met_freeze=met_freeze)
                    )
                    return answer
                met_freeze = met_freeze or code == _FROZEN
                self._note_trouble(call, code or str(answer.status), str(answer.body))
            if time.monotonic() > began + GIVE_UP_SECONDS:
                raise Unanswered(
                    f"{call.method} {call.path} had no answer for {GIVE_UP_SECONDS:.0f} s; "
                    f"last: {self.measured.last_trouble}"
                )
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    def _note_trouble(self, call: Call, what: str, text: str) -> None:
        self.measured.asked_again[what] += 1
        self.measured.last_trouble = f"{call.name}: {what}: {text[:300]}"

    def _exchange(self, call: Call) -> Answer:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        headers = {"Authorization": f"Bearer {self._keys[call.service]}", "Accept": "application/json"}
        body = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(call.body)
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        if call.is_async:
            headers["Prefer"] = "respond-async"
        started = time.perf_counter()
        self._connection.request(call.method, call.path, body=body, headers=headers)
        response = self._connection.getresponse()
        content = response.read()
        self.measured.seconds[call.name].append(time.perf_counter() - started)
        return Answer(
            status=response.status,
            body=msgspec.json.decode(content) if content else None,
            is_replayed=response.headers.get("Idempotency-Replayed", "") == "true",
        )

    def close_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.close_connection()
        if self._procedures is not None:
            self._procedures.close()
            self._procedures = None


def _asks_for_patience(answer: Answer) -> bool:
    if answer.status in _AGAIN_STATUSES:
        return True
    return answer.status == HTTPStatus.CONFLICT and answer.text("code") in _AGAIN_CODES


class Traffic:
    """Callers at work side by side. A fixed number of threads, each with its own caller."""

    def __init__(self, *, base_url: str, keys: Mapping[str, str], legacy_url: str, callers: int) -> None:
        self.callers = callers
        self._make = partial(Caller, base_url=base_url, keys=keys, legacy_url=legacy_url)
        self._all: list[Caller] = []
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(callers, thread_name_prefix="caller", initializer=self._begin)

    def caller(self) -> Caller:
        """One more, for whoever works beside the others; what it sees is measured with them."""
        made = self._make()
        with self._lock:
            self._all.append(made)
        return made

    def _begin(self) -> None:
        self._mine.caller = self.caller()

    def each(self, work: Callable[[Caller, Item], Result], items: Iterable[Item]) -> list[Result]:
        """Do `work` on every item, as many at once as there are callers; results in the order of items.

        Raises what the first of them raised, once all have ended.
        """
        futures = [self._pool.submit(self._with_caller, work, item) for item in items]
        failed = [error for future in futures if (error := future.exception()) is not None]
        if failed:
            raise failed[0]
        return [future.result() for future in futures]

    def at_once(self, call: Call) -> list[Answer]:
        """The same call from every caller at the same moment."""
        barrier = threading.Barrier(self.callers)

        def send(caller: Caller, _: int) -> Answer:
            barrier.wait(GIVE_UP_SECONDS)
            return caller.send(call)

        return self.each(send, range(self.callers))

    def _with_caller(self, work: Callable[[Caller, Item], Result], item: Item) -> Result:
        return work(self._mine.caller, item)

    def measured(self) -> Measurements:
        """What all callers have seen so far."""
        together = Measurements()
        with self._lock:
            everybody = list(self._all)
        for caller in everybody:
            together.add(caller.measured)
        return together

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        for caller in self._all:
            caller.close()
