"""Named places at which a test can have this process kill itself, as a power cut would.

`POINTS_CRASH_POINT=refresh.before_set:1` kills the process when it reaches `refresh.before_set` for
the first time, and only on an embedded stack or in tests. Otherwise `reach` does nothing.
"""

import os
import signal
from typing import NoReturn

_is_own_machine = os.environ.get("POINTS_STACK", "") in ("embedded", "test")
_armed_name, _, _armed_turn = os.environ.get("POINTS_CRASH_POINT", "").partition(":")
_turns_left = int(_armed_turn or 1) if _is_own_machine else 0


def reach(name: str) -> None:
    """Die here by SIGKILL if this place was armed and its turn has come."""
    global _turns_left
    if name != _armed_name or _turns_left <= 0:
        return
    _turns_left -= 1
    if _turns_left == 0:
        _die()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process outlived its own SIGKILL")
