"""`manage.py test`: pytest, with its own arguments and its own exit code."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parents[2]

#: More would not help: many tests start servers of their own.
_MOST_AT_ONCE: Final = 4
#: What says itself how tests are run, or wants to see one process.
_OWN_WAY: Final = (
    "-n",
    "--numprocesses",
    "--dist",
    "-p",
    "-s",
    "--capture",
    "--pdb",
    "--trace",
    "-h",
    "--help",
)


def run_tests(arguments: list[str]) -> int:
    """Replace this process by pytest; returns only, with 2, where pytest is not installed.

    The whole suite is run by as many processes as there are processors, each with databases of its own.
    """
    if importlib.util.find_spec("pytest") is None:
        print("pytest is not installed here; requirements.lock brings it.", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    # tests/conftest.py names the settings itself, once the servers they point at are up.
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    command = [sys.executable, "-m", "pytest", *side_by_side(arguments), *arguments]
    os.execv(sys.executable, command)  # noqa: S606


def side_by_side(arguments: Sequence[str]) -> list[str]:
    """What is added to `arguments` so that tests run side by side: for all tests, or for several folders."""
    if any(argument.startswith(_OWN_WAY) for argument in arguments):
        return []
    named = [argument for argument in arguments if _names_tests(argument)]
    folders = [argument for argument in named if (ROOT / argument).is_dir()]
    if named and len(folders) < 2:
        return []
    processes = min(_MOST_AT_ONCE, len(os.sched_getaffinity(0)))
    # Tests that share a server stay together (tests/conftest.py).
    return ["-n", str(processes), "--dist", "loadscope", "--no-loadscope-reorder"] if processes > 1 else []


def _names_tests(argument: str) -> bool:
    path = argument.partition("::")[0]
    return not argument.startswith("-") and (path.endswith(".py") or (ROOT / path).exists())
