"""What a service is answered, by the API or by a procedure."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    body: Any
    is_replayed: bool

    def text(self, name: str) -> str | None:
        value = self.body.get(name) if isinstance(self.body, dict) else None
        return value if isinstance(value, str) else None

    def whole(self, name: str) -> int | None:
        value = self.body.get(name) if isinstance(self.body, dict) else None
        return value if isinstance(value, int) and not isinstance(value, bool) else None
