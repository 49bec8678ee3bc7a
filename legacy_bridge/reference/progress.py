"""How far a long piece of work is: one line that moves on a terminal, plain lines where there is none."""

import time
from typing import Any, Final

_TERMINAL_SECONDS: Final = 0.2
_PLAIN_SECONDS: Final = 10.0


class Progress:
    """Counts towards `total` of `unit`, and tells the time left by the rate so far."""

    def __init__(self, *, out: Any, total: int, unit: str) -> None:
        self._out = out
        self._total = total
        self._unit = unit
        self._is_terminal = bool(out.isatty())
        self._started = self._said = time.monotonic()

    def show(self, done: int) -> None:
        """Say how much is done, unless it was said a moment ago."""
        now = time.monotonic()
        if now - self._said < (_TERMINAL_SECONDS if self._is_terminal else _PLAIN_SECONDS):
            return
        self._said = now
        seconds_left = (now - self._started) / max(done, 1) * max(0, self._total - done)
        line = f"{done:,} of {self._total:,} {self._unit}, about {seconds_left:.0f} s left"
        if self._is_terminal:
            self._out.write(f"\r{line}\033[K", ending="")
            self._out.flush()
        else:
            self._out.write(line)

    def end(self) -> None:
        """Leave the terminal's line empty for what comes next."""
        if self._is_terminal:
            self._out.write("\r\033[K", ending="")
