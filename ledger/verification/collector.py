"""Counts what is wrong, and keeps only the first examples of each kind."""

from collections.abc import Mapping
from typing import Any

from ledger.verification.report import Breach


class Collector:
    """Breaches by the name of their check. `known` maps a name to its invariant and its meaning."""

    def __init__(self, *, known: Mapping[str, tuple[str, str]], examples: int) -> None:
        self._known = known
        self.examples_at_most = examples
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[dict[str, Any]]] = {}

    def note(self, check: str, **numbers: Any) -> None:
        """One more breach of `check`. Raises KeyError for a name that is not known."""
        self._known[check]
        self.note_many(check, count=1, examples=[numbers])

    def note_many(self, check: str, *, count: int, examples: list[dict[str, Any]]) -> None:
        self._counts[check] = self._counts.get(check, 0) + count
        kept = self._examples.setdefault(check, [])
        kept.extend(examples[: self.examples_at_most - len(kept)])

    def breaches(self) -> list[Breach]:
        return [
            Breach(
                invariant=self._known[check][0],
                check=check,
                meaning=self._known[check][1],
                count=count,
                examples=self._examples[check],
            )
            for check, count in self._counts.items()
        ]
