"""What a verification found, in sentences for people and in JSON for machines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """One invariant that does not hold: how often, and the first examples with their numbers.

    `invariant` is the number of docs/concepts/invariants.md (I1 to I20), `check` the name of the
    check that found it, which says what is wrong.
    """

    invariant: str
    check: str
    meaning: str
    count: int
    examples: Sequence[Mapping[str, Any]]

    def sentence(self) -> str:
        shown = "; ".join(
            ", ".join(f"{name} {value}" for name, value in example.items()) for example in self.examples
        )
        more = f" (and {self.count - len(self.examples)} more)" if self.count > len(self.examples) else ""
        return f"{self.invariant} {self.check}: {self.meaning}: {shown}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A check that could not be made. It is neither passed nor failed."""

    invariant: str
    check: str
    because: str


@dataclass(slots=True, kw_only=True)
class Report:
    breaches: list[Breach] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    #: Names of the checks that were made, and hold or are among the breaches.
    checked: list[str] = field(default_factory=list)
    #: How much there is: rows per table, totals of points.
    figures: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not self.breaches

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.is_clean,
            "breaches": [asdict(breach) for breach in self.breaches],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "checked": list(self.checked),
            "figures": self.figures,
            "seconds": round(self.seconds, 3),
        }
