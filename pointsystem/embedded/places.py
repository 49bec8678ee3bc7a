"""Where embedded stacks keep their data, and which of them are running. Standard library only.

A stack's data directory holds `env` (mode 0600): the URLs and secrets of the running stack, one NAME=value a
line. `lock` is held by the supervisor as long as it lives, so that a stack which was killed is never taken
for a running one. A register of this user's stacks lets a command find the one that runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path


def home() -> Path:
    """The fixed place: /var/lib/pointsystem for root, ~/.local/share/pointsystem for anybody else.

    POINTS_HOME names another. Root's own home is no choice: PostgreSQL refuses to run as root, and `nobody`
    may not look in there.
    """
    named = os.environ.get("POINTS_HOME", "")
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/pointsystem")
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if given else Path.home() / ".local" / "share") / "pointsystem"


def default_data_dir() -> Path:
    return home() / "default"


def _register() -> Path:
    return home() / "running"


def enter(data_dir: Path) -> None:
    """Put a stack into the register."""
    _register().mkdir(parents=True, exist_ok=True)
    _entry(data_dir).write_text(f"{data_dir}\n")


def leave(data_dir: Path) -> None:
    _entry(data_dir).unlink(missing_ok=True)


def _entry(data_dir: Path) -> Path:
    return _register() / hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]


def running() -> list[Path]:
    """Data directories of this user's running stacks. Entries of dead ones are swept."""
    found = []
    try:
        entries = sorted(_register().iterdir())
    except OSError:
        return []
    for entry in entries:
        with contextlib.suppress(OSError):
            data_dir = Path(entry.read_text().strip())
            if is_running(data_dir):
                found.append(data_dir)
            else:
                entry.unlink(missing_ok=True)
    return sorted(found)


def is_running(data_dir: Path) -> bool:
    """Whether a supervisor holds this data directory, and has finished its start."""
    try:
        with open(data_dir / "lock") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (data_dir / "env").exists()
    except OSError:
        return False
    return False


def read_environment(data_dir: Path) -> dict[str, str]:
    """The variables in a running stack's `env` file."""
    lines = (data_dir / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
