"""How long work shows itself: one line that moves on a terminal, plain lines where there is none."""

import time
from typing import Any


class Progress:
    """Counts towards `total` of `unit`, and tells the time left by the rate so far."""

    TERMINAL_SECONDS = 0.2
    PLAIN_SECONDS = 10.0

    def __init__(self, *, stderr: Any, total: int, unit: str) -> None:
        self._stderr = stderr
        self._total = total
        self._unit = unit
        self._is_terminal = bool(stderr.isatty())
        self._started = self._last_said = time.monotonic()

    def show(self, done: int) -> None:
        """Say how much is done, unless it was said a moment ago."""
        now = time.monotonic()
        if now - self._last_said < (self.TERMINAL_SECONDS if self._is_terminal else self.PLAIN_SECONDS):
            return
        self._last_said = now
        seconds_left = (now - self._started) / max(done, 1) * max(0, self._total - done)
        line = f"{done:,} of {self._total:,} {self._unit}, {seconds_left:.0f} s left"
        self._stderr.write(
            f"\r{line}\033[K" if self._is_terminal else line, ending="" if self._is_terminal else "\n"
        )

    def end(self) -> None:
        """Leave the terminal's line empty for what comes next."""
        if self._is_terminal:
            self._stderr.write("\r\033[K", ending="")
