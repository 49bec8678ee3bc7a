"""How a case ends before its end: each an exception of its own, with the exchange that decided."""

from typing import Any

from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange


class Broken(AssertionError):
    """The contract is broken; the message says how."""

    def __init__(self, message: str, exchange: Exchange | None = None) -> None:
        super().__init__(message)
        self.exchange = exchange


class Unavailable(Exception):
    """The side that decides cannot do this, and said so in a way that is allowed.

    `capability` is None where it answered `not_available_in_stage`: any that the case needs explains it.
    """

    def __init__(
        self, message: str, exchange: Exchange | None = None, *, capability: Capability | None = None
    ) -> None:
        super().__init__(message)
        self.exchange = exchange
        self.capability = capability


class Skipped(Exception):
    """The case needs something that the run was not given."""


def is_same(got: Any, wanted: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    if type(got) is not type(wanted):
        return False
    if isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(is_same(got[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list | tuple):
        return len(got) == len(wanted) and all(map(is_same, got, wanted))
    return bool(got == wanted)


def equal(what: str, got: Any, wanted: Any, exchange: Exchange | None = None) -> None:
    """Raises Broken unless `got` is `wanted`, of the same JSON type."""
    if not is_same(got, wanted):
        raise Broken(f"{what}: expected {wanted!r}, got {got!r}", exchange)


def true(what: str, holds: bool, exchange: Exchange | None = None) -> None:
    """Raises Broken with `what`, which says what must hold, unless it does."""
    if not holds:
        raise Broken(f"does not hold: {what}", exchange)
