"""What became of the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange
from pointsystem.contract.registry import Case


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    #: The side that decides cannot represent it, and said so.
    UNAVAILABLE = "unavailable"
    #: The run was not given what the case needs.
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """One case. `exchange` is the one that broke it, or that said that it is not available."""

    case: Case
    verdict: Verdict
    message: str = ""
    exchange: Exchange | None = None
    #: What was null because the side that decides cannot tell, or was read as a help and refused.
    cannot_tell: frozenset[Capability] = frozenset()
    #: What is done in another way here, where that is why the case is unavailable.
    does_otherwise: Capability | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.case.name,
            "promise": self.case.promise,
            "needs": sorted(self.case.needs),
            "verdict": str(self.verdict),
            "message": self.message,
            "cannot_tell": sorted(self.cannot_tell),
            "does_otherwise": self.does_otherwise,
            "seconds": round(self.seconds, 3),
            "exchange": None if self.exchange is None else exchange_as_json(self.exchange),
        }


@dataclass
class Results:
    base_url: str
    results: list[Result] = field(default_factory=list)

    def of(self, verdict: Verdict) -> Sequence[Result]:
        return [result for result in self.results if result.verdict is verdict]

    @property
    def has_failed(self) -> bool:
        return any(result.verdict is Verdict.FAILED for result in self.results)

    @property
    def cannot_tell(self) -> frozenset[Capability]:
        return frozenset().union(*(result.cannot_tell for result in self.results))

    def as_json(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            **{str(verdict): len(self.of(verdict)) for verdict in Verdict},
            "cannot_tell": sorted(self.cannot_tell),
            "cases": [result.as_json() for result in self.results],
        }


def exchange_as_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "method": exchange.method,
        "path": exchange.path,
        "request_headers": dict(exchange.sent_headers),
        "request_body": exchange.sent_body.decode("utf-8", "backslashreplace"),
        "status": exchange.status,
        "headers": exchange.headers,
        "body": exchange.body.decode("utf-8", "backslashreplace"),
    }
