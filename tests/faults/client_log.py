"""What the clients saw, written down by themselves: the other half of every proof that nothing was lost.

One line before a request is sent and one after its answer; operations end as `ok`, `refused` (a
definite refusal) or stay open when no definite answer came.
"""

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Attempted:
    key: str
    kind: str
    account_number: str
    points: int
    cancels: str | None = None
    attempts: int = 0
    ended: str = "open"
    operation_id: str | None = None
    answers: tuple[str, ...] = ()


class ClientLog:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self.operations: dict[str, Attempted] = {}

    def sending(self, operation: Attempted) -> None:
        operation.attempts += 1
        self.operations[operation.key] = operation
        self._write({"send": operation.key, "kind": operation.kind, "points": operation.points})

    def answered(self, operation: Attempted, *, status: int, body: Any) -> None:
        """A definite answer. Different definite answers to one key are kept: that is what must not be."""
        answer = json.dumps({"status": status, "id": body.get("id"), "code": body.get("code")})
        operation.answers = tuple(dict.fromkeys((*operation.answers, answer)))
        operation.ended = "ok" if status < 400 else "refused"
        operation.operation_id = body.get("id")
        self._write({"answer": operation.key, "status": status, "id": operation.operation_id})

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
