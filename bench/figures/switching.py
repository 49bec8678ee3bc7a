"""P15: what clients wait for while a stage is switched under their load."""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import uuid4

from bench.figures.mirroring import Cutover, over_a_legacy
from bench.figures.options import Options
from bench.row import Row
from bench.world import PREFIX, World
from pointsystem.embedded.stack import ROOT

_CLIENTS = 16
#: Between two requests of a client: what is measured is a pause, not how long a queue is.
_PAUSE_SECONDS = 0.05
_SWITCHES = 40
_WARM_UP_SECONDS = 3.0
_LONGEST_SECONDS = 300.0
#: The pairs of neighbours; the decider changes between the middle ones alone.
_PAIRS = (("LEGACY_ONLY", "LEGACY_FIRST"), ("LEGACY_FIRST", "NEW_FIRST"), ("NEW_FIRST", "NEW_ONLY"))
#: Where somebody follows, so that what was recorded is told.
_FOLLOWED = frozenset({"LEGACY_FIRST", "NEW_FIRST"})
_TARGET = "p99 <= 100 ms, worst <= 250 ms"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as its client saw it; moments of the wall clock."""

    began: float
    ended: float
    status: int

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) * 1000


class _Client:
    """Earns, spends and reads on accounts of its own, one request after the other."""

    def __init__(self, url: str, key: str, number: int) -> None:
        place = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._number = number
        self.seen: list[Seen] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.stopping.wait(_PAUSE_SECONDS):
            number += 1
            account = f"/api/v1/accounts/{PREFIX}{self._number * 100 + number % 100}"
            if number % 4 == 0:
                self._send("GET", f"{account}/balance")
            elif number % 4 == 1:
                self._send("POST", f"{account}/spend", {"points": 1, "reason": "ORDER_PAYMENT"})
            else:
                self._send("POST", f"{account}/earn", {"points": 2, "reason": "ORDER_REWARD"})

    def _send(self, method: str, path: str, body: dict[str, object] | None = None) -> None:
        headers = {**self._headers, "Idempotency-Key": str(uuid4())} if body else self._headers
        began = time.time()
        self._connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self._connection.getresponse()
        response.read()
        self.seen.append(Seen(began, time.time(), response.status))


@contextmanager
def _under_load(cutover: Cutover) -> Iterator[list[_Client]]:
    clients = [_Client(cutover.stack.url, cutover.key, number) for number in range(_CLIENTS)]
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        time.sleep(_WARM_UP_SECONDS)
        yield clients
    finally:
        for client in clients:
            client.stopping.set()
        for thread in threads:
            thread.join(timeout=40)


def paused(world: World, options: Options) -> list[Row]:
    """P15: requests that were under way while a stage was switched, beside those that were not."""
    rows = []
    with over_a_legacy(world, options, "switched") as cutover:
        for here, there in _PAIRS:
            options.tell(f"switching {_SWITCHES} times between {here} and {there}")
            cutover.set_stage(here)
            with _under_load(cutover) as clients:
                switches = _switch(cutover, here, there)
            rows.append(_row(f"{here} <-> {there}", [each for one in clients for each in one.seen], switches))
            cutover.set_stage(there if there in _FOLLOWED else here)
            cutover.drain()
    return rows


def _switch(cutover: Cutover, here: str, there: str) -> list[tuple[float, float]]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.moves", here, there, str(_SWITCHES)],
        env={**cutover.stack.environment(), "DJANGO_SETTINGS_MODULE": "pointsystem.settings"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_LONGEST_SECONDS,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"began"')]
    return [(line["began"], line["ended"]) for line in lines]


def _row(what: str, seen: Sequence[Seen], switches: Sequence[tuple[float, float]]) -> Row:
    within = [
        each for each in seen if any(each.began <= ended and each.ended >= began for began, ended in switches)
    ]
    first, last = switches[0][0], switches[-1][1]
    met = set(within)
    outside = [
        each
        for each in seen
        if each not in met and each.began > first - _WARM_UP_SECONDS and each.ended < last
    ]
    p99, worst = _part(within, 0.99), max(each.milliseconds for each in within)
    refused = Counter(each.status for each in within if each.status >= 400)
    return Row(
        figure="P15",
        what=f"requests that met one of {len(switches)} switches {what}, {_CLIENTS} clients",
        ours=f"p50 {_part(within, 0.5):.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms, of {len(within):,}",
        other=f"the others: p50 {_part(outside, 0.5):.1f} ms, p99 {_part(outside, 0.99):.1f} ms,"
        f" worst {max(each.milliseconds for each in outside):.1f} ms, of {len(outside):,}",
        target=_TARGET,
        met=p99 <= 100 and worst <= 250,
        note=f"refused {dict(refused)}" if refused else "none was refused",
        details={"within": [each.milliseconds for each in within]},
    )


def _part(seen: Sequence[Seen], part: float) -> float:
    values = sorted(each.milliseconds for each in seen)
    return values[min(int(len(values) * part), len(values) - 1)]
