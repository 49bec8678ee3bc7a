"""`manage.py test` is pytest: its arguments go in, its exit code comes out."""

import os
import tempfile
import time
from pathlib import Path

import pytest

from pointsystem.embedded.stack import JUST_STARTED_SECONDS, Stack
from pointsystem.embedded.testrun import side_by_side
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


@pytest.mark.parametrize(
    ("arguments", "is_side_by_side"),
    [
        ((), True),
        (("-q", "-m", "not slow"), True),
        (("tests/ledger", "tests/api", "-x"), True),
        (("tests/ledger", "tests/api", "tests/test_lock.py"), True),
        (("tests/ledger",), False),
        (("tests/test_lock.py::test_it",), False),
        (("-n", "3"), False),
        (("-n0",), False),
        (("--pdb",), False),
        (("tests/ledger", "tests/api", "-s"), False),
    ],
)
def test_all_tests_run_side_by_side_and_a_few_do_not(
    arguments: tuple[str, ...], is_side_by_side: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    wanted = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"] if is_side_by_side else []
    assert side_by_side(arguments) == wanted


def test_one_processor_runs_one_test_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert side_by_side([]) == []


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
