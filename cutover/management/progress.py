"""How far a run through all accounts is, shown as the ledger's commands show it."""

from typing import Any

from cutover.migrating import Progress
from ledger.management import progress as shown


class AccountsLine:
    """Progress on a terminal, plain lines elsewhere; nothing where nobody knows how many there are."""

    def __init__(self, stderr: Any) -> None:
        self._stderr = stderr
        self._progress: shown.Progress | None = None
        self._first = 0

    def show(self, progress: Progress) -> None:
        if progress.accounts_total is None:
            return
        if self._progress is None:
            # The time left is told by the rate of this process, not by that of all who worked on it.
            self._first = progress.accounts_done
            total = max(progress.accounts_total - self._first, 0)
            self._progress = shown.Progress(stderr=self._stderr, total=total, unit="accounts")
        self._progress.show(progress.accounts_done - self._first)

    def end(self) -> None:
        if self._progress is not None:
            self._progress.end()
