"""How far a long piece of work is: one line that is drawn again on a terminal, plain lines elsewhere."""

import shutil
import sys
import threading
import time
from typing import Final, TextIO

_REDRAW_SECONDS: Final = 0.1
_BAR_CELLS: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


class Progress:
    """`advance` with the work done; it draws at most ten times a second, or a line for each new label."""

    def __init__(self, *, total: int, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._total = max(total, 1)
        self._is_terminal = self._out.isatty()
        self._started = time.monotonic()
        self._drawn_at = 0.0
        self._label = ""
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """A line of its own, between two of ours. May be called by any thread."""
        with self._lock:
            if self._is_terminal:
                self._out.write("\r\x1b[K")
            self._out.write(f"  {text}\n")
            self._out.flush()
            self._drawn_at = 0.0

    def advance(self, *, done: int, label: str, text: str) -> None:
        """`done` of the total; `label` names the stretch that it is in, `text` says more."""
        with self._lock:
            self._advance(done, label, text)

    def _advance(self, done: int, label: str, text: str) -> None:
        now = time.monotonic()
        if self._is_terminal:
            if now - self._drawn_at >= _REDRAW_SECONDS:
                self._draw(done, label, text)
                self._drawn_at = now
        elif label != self._label:
            self._out.write(f"  {label}  {100 * done // self._total:3d}%  {text}{self._rest(done)}\n")
            self._out.flush()
        self._label = label

    def end(self, text: str) -> None:
        self.say(text)

    def _draw(self, done: int, label: str, text: str) -> None:
        line = f"  {label} {bar(done / self._total, cells=_BAR_CELLS, out=self._out, fill=True)} "
        line += f"{100 * done // self._total:3d}%  {text}{self._rest(done)}"
        self._out.write(f"\r{line[: shutil.get_terminal_size().columns - 1]}\x1b[K")
        self._out.flush()

    def _rest(self, done: int) -> str:
        passed_seconds = time.monotonic() - self._started
        if not done or passed_seconds < 1 or done >= self._total:
            return ""
        rest_seconds = round(passed_seconds * (self._total - done) / done)
        return f", about {rest_seconds // 60}:{rest_seconds % 60:02d} left"


def speaks_unicode(out: TextIO) -> bool:
    return (out.encoding or "ascii").lower().replace("-", "").startswith("utf")


def bar(share: float, *, cells: int, out: TextIO, fill: bool = False) -> str:
    """A bar for `share` (0 to 1) of `cells`; with `fill`, always as wide as all of them.

    What is more than nothing is never drawn as nothing.
    """
    share = min(max(share, 0.0), 1.0)
    if not speaks_unicode(out):
        whole = max(round(share * cells), 1 if share > 0 else 0)
        return ("#" * whole).ljust(cells, "." if fill else " ")
    eighths = max(round(share * cells * 8), 1 if share > 0 else 0)
    drawn = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return drawn.ljust(cells, "░" if fill else " ")
