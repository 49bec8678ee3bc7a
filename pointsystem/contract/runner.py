"""Runs cases one after the other, each in a world of its own, and says what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from pointsystem.contract.client import Client, NoAnswer
from pointsystem.contract.registry import Case, find_cases
from pointsystem.contract.results import Result, Results, Verdict
from pointsystem.contract.verdicts import Broken, Skipped, Unavailable
from pointsystem.contract.world import World


class Suite:
    """The cases against one server, with one client and perhaps another."""

    def __init__(self, base_url: str, key: str, other_key: str | None = None) -> None:
        """Raises ValueError where `base_url` is no address of a web server."""
        self.base_url = base_url
        self._clients = [Client(base_url, given) for given in (key, other_key) if given]

    def run(self, case: Case) -> Result:
        """Run one case. Raises nothing: a mistake of the case itself is a failure too."""
        started = time.perf_counter()
        world = World(case, *self._clients)
        try:
            result = _judged(case, world)
        finally:
            world.close()
        return replace(
            result, cannot_tell=frozenset(world.cannot_tell), seconds=time.perf_counter() - started
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()


def _judged(case: Case, world: World) -> Result:
    try:
        case.run(world)
    except Broken as broken:
        return Result(case, Verdict.FAILED, str(broken), broken.exchange or world.last_exchange)
    except Skipped as skipped:
        return Result(case, Verdict.SKIPPED, str(skipped))
    except Unavailable as unavailable:
        return _unavailable(case, unavailable)
    except NoAnswer as silence:
        return Result(case, Verdict.FAILED, f"no answer: {silence}")
    except (LookupError, TypeError, ValueError) as error:
        # An answer whose form no check had foreseen.
        message = f"cannot be read: {type(error).__name__}: {error}"
        return Result(case, Verdict.FAILED, message, world.last_exchange)
    return Result(case, Verdict.PASSED)


def _unavailable(case: Case, unavailable: Unavailable) -> Result:
    capability = unavailable.capability
    if case.may_be_unavailable if capability is None else capability in case.needs:
        return Result(
            case,
            Verdict.UNAVAILABLE,
            str(unavailable),
            unavailable.exchange,
            does_otherwise=capability,
        )
    message = f"must be available everywhere: {unavailable}"
    return Result(case, Verdict.FAILED, message, unavailable.exchange)


def run_suite(
    base_url: str,
    key: str,
    other_key: str | None = None,
    *,
    chosen: Sequence[Case] | None = None,
    tell: Callable[[Result], None] = lambda result: None,
) -> Results:
    """Run all cases, or `chosen`, and call `tell` after each."""
    suite = Suite(base_url, key, other_key)
    results = Results(base_url)
    for case in find_cases() if chosen is None else chosen:
        result = suite.run(case)
        results.results.append(result)
        tell(result)
    suite.close()
    return results
