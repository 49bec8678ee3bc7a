"""Where runs of the demo keep their data: each in a fresh directory, of which the report stays."""

import contextlib
import fcntl
import secrets
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pointsystem.embedded import places

#: What a run leaves, and what it leaves beside that when it did not succeed. The rest is servers' data.
REPORT: Final = "report"
LOGS: Final = "logs"
_LEFT_ALONE_SECONDS: Final = 60.0


def runs_home() -> Path:
    return places.home() / "demo"


def fresh_directory() -> Path:
    """A directory that no other run has."""
    stamp = datetime.now(tz=UTC).strftime("%Y%m%d-%H%M%S")
    return runs_home() / f"{stamp}-{secrets.token_hex(2)}"


def throw_data_away(data_dir: Path, *, keep_logs: bool) -> None:
    """Remove everything of a stopped run but its report, and the logs if somebody may look for a cause."""
    kept = {REPORT, LOGS} if keep_logs else {REPORT}
    with contextlib.suppress(OSError):
        for entry in data_dir.iterdir():
            if entry.name in kept:
                continue
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        if not any(data_dir.iterdir()):
            data_dir.rmdir()


def sweep() -> None:
    """Throw away what runs left behind that were killed: nobody holds their lock any more."""
    with contextlib.suppress(OSError):
        for data_dir in runs_home().iterdir():
            with contextlib.suppress(OSError):
                _sweep(data_dir)


def _sweep(data_dir: Path) -> None:
    # A run that is just starting may not hold its lock yet, and killed servers still need a moment.
    if time.time() - (data_dir / "lock").stat().st_mtime < _LEFT_ALONE_SECONDS:
        return
    with open(data_dir / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        throw_data_away(data_dir, keep_logs=False)
