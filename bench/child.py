"""Work in a Python process of its own: `python -m bench.child KIND`. Knows nothing of the bench.

A kind of work is a function that is called again and again, by some threads in some processes, until the
time is over; or, for work that has an end, once.
"""

import importlib
import json
import multiprocessing
import statistics
import threading
import time
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from typing import Any

_CONNECTIONS = 16
_PROCESSES = 2
#: Where the function of each kind is: it is given nothing, and returns what one thread is to call.
_REPEATED = {"pgledger": "bench.peers.pgledger:transfers", "hordak": "bench.peers.hordak_app:transfers"}
_ONCE = {
    "expire": "bench.work_once:expire",
    "expire_each": "bench.work_once:expire_each",
    "refresh": "bench.work_once:refresh",
    "refresh_by_celery": "bench.work_once:refresh_by_celery",
    "balance": "bench.work_once:balance",
    "hordak_prepare": "bench.peers.hordak_app:prepare",
}


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _repeat(kind: str, seconds: float) -> Mapping[str, Any]:
    """The work of `kind` on all threads of all processes, until the time is over."""
    with multiprocessing.get_context("spawn").Pool(_PROCESSES) as pool:
        results = pool.starmap(_in_process, [(kind, seconds, _CONNECTIONS // _PROCESSES)] * _PROCESSES)
    latencies = sorted(latency for found, _, _ in results for latency in found)
    return {
        "count": len(latencies),
        "seconds": seconds,
        "p50": statistics.median(latencies) * 1000 if latencies else 0.0,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000 if latencies else 0.0,
        "errors": sum(errors for _, errors, _ in results),
        "processor_seconds": sum(used for _, _, used in results),
    }


def _in_process(kind: str, seconds: float, count: int) -> tuple[list[float], int, float]:
    make = _function(_REPEATED[kind])
    # What a process sets up once, it sets up here; a mistake ends it here too.
    make()()
    latencies: list[float] = []
    errors: list[str] = []
    start = threading.Barrier(count)

    def work() -> None:
        try:
            once = make()
            once()
        except BaseException:
            start.abort()
            raise
        start.wait(timeout=60)
        deadline = time.perf_counter() + seconds
        before = time.perf_counter()
        while before < deadline:
            try:
                once()
            except Exception as error:
                errors.append(str(error))
            after = time.perf_counter()
            latencies.append(after - before)
            before = after

    threads = [threading.Thread(target=work) for _ in range(count)]
    used = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, len(errors), time.process_time() - used


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("kind", choices=[*_REPEATED, *_ONCE])
    parser.add_argument("--seconds", type=float, default=0.0)
    arguments = parser.parse_args()
    if arguments.kind in _REPEATED:
        result = _repeat(arguments.kind, arguments.seconds)
    else:
        result = _function(_ONCE[arguments.kind])()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
