"""A process dies where it was told to, and never where it was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
from ledger import crash_points
for turn in range(3):
    crash_points.reach("here")
    print(turn)
"""


@pytest.mark.parametrize(
    ("stack", "armed", "lines", "return_code"),
    [
        ("test", "here:1", [], -signal.SIGKILL),
        ("embedded", "here:3", ["0", "1"], -signal.SIGKILL),
        ("test", "elsewhere:1", ["0", "1", "2"], 0),
        ("test", "", ["0", "1", "2"], 0),
        ("", "here:1", ["0", "1", "2"], 0),
        ("production", "here:1", ["0", "1", "2"], 0),
    ],
)
def test_kills_only_what_was_armed_on_ones_own_machine(
    stack: str, armed: str, lines: list[str], return_code: int
) -> None:
    environment = {**os.environ, "POINTS_STACK": stack, "POINTS_CRASH_POINT": armed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-u", "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == lines
    assert done.returncode == return_code
