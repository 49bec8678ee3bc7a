"""The list of cases: each a function, named after its module and itself, with a sentence as its promise."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Final

from pointsystem.contract.capabilities import REPORTS, Capability

if TYPE_CHECKING:
    from pointsystem.contract.world import World

Body = Callable[["World"], None]

#: The order of the list, of the documentation and of a run.
GROUPS: Final = (
    "writes",
    "cancels",
    "keys",
    "reads",
    "pages",
    "lots",
    "operations",
    "batch",
    "later",
    "transfers",
    "storms",
    "bad_input",
    "http",
)


@dataclass(frozen=True)
class Case:
    """One promise to clients, and the function that proves it."""

    name: str
    promise: str
    needs: frozenset[Capability]
    needs_other_client: bool
    run: Body

    @property
    def group(self) -> str:
        return self.name.partition(".")[0]

    @property
    def may_be_unavailable(self) -> bool:
        return bool(self.needs - REPORTS)


_cases: dict[str, Case] = {}


def case(*, needs: Iterable[Capability] = (), other_client: bool = False) -> Callable[[Body], Body]:
    """Put a function on the list. Its docstring is one sentence: what a client can rely on.

    `needs` names what an implementation may lack; without any, the case must pass everywhere.
    """

    def register(body: Body) -> Body:
        name = f"{body.__module__.rpartition('.')[2]}.{body.__name__}"
        promise = " ".join((body.__doc__ or "").split())
        if not promise.endswith(".") or name in _cases:
            raise TypeError(f"{name} needs a sentence and a name of its own")
        _cases[name] = Case(name, promise, frozenset(needs), other_client, body)
        return body

    return register


@cache
def _load() -> None:
    package = importlib.import_module("pointsystem.contract.cases")
    found = {module.name for module in pkgutil.iter_modules(package.__path__)}
    if found != set(GROUPS):
        raise TypeError(f"GROUPS and the modules of cases differ: {sorted(found ^ set(GROUPS))}")
    for group in GROUPS:
        importlib.import_module(f"{package.__name__}.{group}")


def find_cases(pattern: str = "") -> list[Case]:
    """All cases, or those whose name holds `pattern`; with `*`, `?` or `[` those that match it whole."""
    _load()
    listed = sorted(_cases.values(), key=lambda case: GROUPS.index(case.group))
    if any(character in pattern for character in "*?["):
        return [case for case in listed if fnmatchcase(case.name, pattern)]
    return [case for case in listed if pattern in case.name]
