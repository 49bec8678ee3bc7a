"""`manage.py test` is pytest: its arguments go in, its exit code comes out."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from pointsystem.embedded.stack import JUST_STARTED_SECONDS, Stack
from tests.pointsystem.embedded.machine import manage, place


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("tests/test_lock.py", "-k", "address", "-q"), 0),
        (("tests/test_lock.py", "-k", "nothing_like_this"), 5),
        (("tests/no_such_file.py",), 4),
    ],
)
def test_exit_codes_are_those_of_pytest(arguments: tuple[str, ...], code: int) -> None:
    with place() as home:
        done = manage("test", *arguments, home=home)
    assert done.returncode == code, done.stdout + done.stderr


def test_directories_of_killed_runs_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    with place() as directory:
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        left: Path = directory / "pointsystem-tests-left"
        (left / "postgres").mkdir(parents=True)
        (left / "postgres" / "postmaster.pid").write_text("1\n")
        (left / "lock").touch()
        foreign = directory / "somebody-elses"
        foreign.mkdir()

        with Stack.temporary("tests", durable=False, listed=False) as running:
            assert left.exists(), "its server may still be ending"
            long_ago = time.time() - JUST_STARTED_SECONDS - 1
            os.utime(left / "lock", (long_ago, long_ago))
            with Stack.temporary("tests", durable=False, listed=False) as other:
                assert not left.exists()
                assert running.data_dir.exists(), "one that runs is never swept"
                assert foreign.exists()
            assert not other.data_dir.exists()
