"""The client-side log: one line for each answer, written where the services run, not where the ledger is.

The proofs read it back from the file; nothing of it passes through the ledger.
"""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

#: `finished`: the operator said that the cutover is over; from then on the ledger's own rules hold.
Kind = Literal["earn", "spend", "cancel", "transfer", "balance", "settled", "repeat", "finished"]


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, and what was answered. `at` is the simulated instant; points are whole points.

    What went through a procedure has no key, and an operation id that the service made of its own words.

    Lines of one account stand in the order in which its operations were decided.
    """

    at: datetime
    kind: Kind
    account_number: str
    status: int
    #: Asked for. None in a cancel: all that is left.
    points: int | None = None
    to_account_number: str | None = None
    expires_at: datetime | None = None
    cancels: str | None = None
    key: str | None = None
    #: Answered.
    operation_id: str | None = None
    state: str | None = None
    code: str | None = None
    #: After the operation, or what a balance said.
    available: int | None = None
    uncollected_points: int | None = None
    is_replayed: bool = False
    #: The legacy's row, of what went through a procedure.
    row: int | None = None


class Journal:
    """Appends lines; `write` may be called by several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "wb")  # noqa: SIM115
        self._lock = threading.Lock()

    def write(self, line: Line) -> None:
        encoded = msgspec.json.encode(line) + b"\n"
        with self._lock:
            self._file.write(encoded)

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with open(path, "rb") as file:
        for encoded in file:
            yield decoder.decode(encoded)
