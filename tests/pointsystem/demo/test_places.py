"""What runs leave behind, and how the next one clears it away."""

import fcntl
import os
import time
from pathlib import Path

import pytest

from pointsystem.demo import places


@pytest.fixture
def left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that was killed an hour ago."""
    monkeypatch.setenv("POINTS_HOME", str(tmp_path))
    data_dir = places.fresh_directory()
    for name in ("postgres", "logs", places.REPORT):
        (data_dir / name).mkdir(parents=True)
        (data_dir / name / "file").touch()
    (data_dir / "secrets").touch()
    (data_dir / "lock").touch()
    an_hour_ago = time.time() - 3600
    os.utime(data_dir / "lock", (an_hour_ago, an_hour_ago))
    return data_dir


def names_in(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_two_runs_never_share_a_directory(left_behind: Path) -> None:
    assert len({places.fresh_directory() for _ in range(50)}) == 50


def test_of_a_killed_run_only_the_report_stays(left_behind: Path) -> None:
    places.sweep()
    assert names_in(left_behind) == ["report"]
    assert names_in(left_behind / "report") == ["file"]
    places.sweep()
    assert names_in(left_behind) == ["report"]


def test_a_run_that_lives_is_left_alone(left_behind: Path) -> None:
    with open(left_behind / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        places.sweep()
    assert names_in(left_behind) == ["lock", "logs", "postgres", "report", "secrets"]


def test_a_run_that_has_just_begun_is_left_alone(left_behind: Path) -> None:
    os.utime(left_behind / "lock")
    places.sweep()
    assert "postgres" in names_in(left_behind)
