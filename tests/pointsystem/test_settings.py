"""Settings: written down, and refused where a guess would be dangerous."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pointsystem.embedded.machine import ROOT, shell_environment

GOOD = {
    "DATABASE_URL": "postgres://points_app:secret@127.0.0.1:1/points",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/1",
    "SECRET_KEY": secrets.token_urlsafe(48),
}


def _load(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a process that reads the settings, as a web server does."""
    return subprocess.run(
        [sys.executable, "-c", "import pointsystem.wsgi; print('serves')"],
        env=shell_environment(POINTS_HOME=str(tmp_path), PYTHONPATH=str(ROOT), **environment),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    documented = set(
        re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/reference/settings.md").read_text(), re.M)
    )
    code = "\n".join(
        path.read_text() for package in ("pointsystem", "ledger") for path in (ROOT / package).rglob("*.py")
    )
    code += (ROOT / "manage.py").read_text()
    settings = (ROOT / "pointsystem/settings.py").read_text()
    read = set(re.findall(r'(?:env\.\w+|_required_beside_database|_database)\(\s*"([A-Z_]+)"', settings))
    assert len(read) > 25, "the pattern finds the settings"
    assert read - documented == set()
    assert {name for name in documented if f'"{name}"' not in code} == set()


def test_serves_with_what_is_needed(tmp_path: Path) -> None:
    done = _load(tmp_path, **GOOD)
    assert (done.returncode, done.stdout) == (0, "serves\n"), done.stderr


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY must be set"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY must be set, to at least 32"),
        ({"REDIS_URL": ""}, "REDIS_URL must be set"),
        ({"CELERY_BROKER_URL": ""}, "CELERY_BROKER_URL must be set"),
        ({"POINTS_CLOCK": "simulated"}, "points.E002"),
    ],
)
def test_refuses_to_serve(tmp_path: Path, changed: dict[str, str], words: str) -> None:
    done = _load(tmp_path, **{**GOOD, **changed})
    assert done.returncode != 0
    assert words in done.stderr
    assert done.stdout == ""


def test_no_password_is_printed_when_a_database_is_away(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate"],
        env=shell_environment(POINTS_HOME=str(tmp_path), **GOOD),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "secret" not in done.stderr + done.stdout
    assert os.linesep in done.stderr
