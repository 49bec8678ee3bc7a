"""Processor time of groups of processes, read from /proc: where there is none, it is unknown."""

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def is_known() -> bool:
    return (_PROC / "self" / "stat").exists()


def _fields(pid: int) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None


def tree(root: int) -> set[int]:
    """`root` and everything it started."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        found.add(pid)
        waiting.extend(children.get(pid, []))
    return found


def used_seconds(roots: Iterable[int]) -> float:
    """User and system time of the trees under `roots`, children that ended included."""
    ticks = 0
    for root in roots:
        for pid in tree(root):
            if fields := _fields(pid):
                ticks += sum(map(int, fields[11:15] if pid == root else fields[11:13]))
    return ticks / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory, shared libraries counted in full."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
