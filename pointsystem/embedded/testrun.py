"""`manage.py test`: pytest, with its own arguments and its own exit code."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_tests(arguments: list[str]) -> int:
    """Replace this process by pytest; returns only, with 2, where pytest is not installed."""
    if importlib.util.find_spec("pytest") is None:
        print("pytest is not installed here; requirements.lock brings it.", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    # tests/conftest.py names the settings itself, once the servers they point at are up.
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])  # noqa: S606
