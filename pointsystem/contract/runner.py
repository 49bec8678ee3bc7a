"""Runs cases one after the other, each in a world of its own, and says what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from pointsystem.contract.client import Client, Exchange, NoAnswer
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
            verdict, message, exchange = self._judged(case, world)
        finally:
            world.close()
        return Result(
            case=case,
            verdict=verdict,
            message=message,
            exchange=exchange,
            cannot_tell=frozenset(world.cannot_tell),
            seconds=time.perf_counter() - started,
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()

    @staticmethod
    def _judged(case: Case, world: World) -> tuple[Verdict, str, Exchange | None]:
        try:
            case.run(world)
        except Broken as broken:
            return Verdict.FAILED, str(broken), broken.exchange or world.last_exchange
        except Skipped as skipped:
            return Verdict.SKIPPED, str(skipped), None
        except Unavailable as unavailable:
            is_declared = (
                case.may_be_unavailable
                if unavailable.capability is None
                else unavailable.capability in case.needs
            )
            if is_declared:
                return Verdict.UNAVAILABLE, str(unavailable), unavailable.exchange
            return Verdict.FAILED, f"must be available everywhere: {unavailable}", unavailable.exchange
        except NoAnswer as silence:
            return Verdict.FAILED, f"no answer: {silence}", None
        except (LookupError, TypeError, ValueError) as error:
            # An answer whose form no check had foreseen.
            return Verdict.FAILED, f"cannot be read: {type(error).__name__}: {error}", world.last_exchange
        return Verdict.PASSED, "", None


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
