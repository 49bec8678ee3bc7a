"""Two sides, one after the other and again: A B A B, the first pair thrown away, medians of the rest."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one side did in one bounded run. Times in milliseconds; processor time in microseconds."""

    rate: float
    p50: float | None = None
    p99: float | None = None
    server_processor: float | None = None
    database_processor: float | None = None
    errors: int = 0


@dataclass(frozen=True, kw_only=True)
class Side:
    name: str
    run: Callable[[float], Run]


@dataclass(kw_only=True)
class Measured:
    """All counted runs of one side."""

    name: str
    runs: list[Run] = field(default_factory=list)

    def median(self, of: str) -> float | None:
        values = [getattr(run, of) for run in self.runs]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    @property
    def rate(self) -> float:
        return self.median("rate") or 0.0

    @property
    def errors(self) -> int:
        return sum(run.errors for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rate": self.rate,
            "p50_milliseconds": self.median("p50"),
            "p99_milliseconds": self.median("p99"),
            "server_processor_microseconds": self.median("server_processor"),
            "database_processor_microseconds": self.median("database_processor"),
            "errors": self.errors,
            "rates": [run.rate for run in self.runs],
        }


def interleaved(
    sides: Sequence[Side], *, seconds: float, rounds: int, tell: Callable[[str], None]
) -> Mapping[str, Measured]:
    """Run every side `rounds` times for `seconds`, after one round that is thrown away."""
    measured = {side.name: Measured(name=side.name) for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            run = side.run(seconds)
            if number:
                measured[side.name].runs.append(run)
            warm_up = "" if number else " (warm-up)"
            tell(
                f"    {side.name}: {run.rate:,.0f}/s{warm_up}{f', {run.errors} errors' if run.errors else ''}"
            )
    return measured
