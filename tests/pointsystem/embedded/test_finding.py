"""Every command finds the running stack it is to work on, or says what to do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsystem.embedded import places
from pointsystem.embedded.processes import StackError
from pointsystem.embedded.stack import Stack
from tests.pointsystem.embedded.machine import ROOT, manage, place, shell_environment, wait_until_gone


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with place() as directory:
        monkeypatch.setenv("POINTS_HOME", str(directory / "home"))
        yield directory


def _stack(data_dir: Path) -> Stack:
    return Stack(data_dir=data_dir, durable=False)


def test_a_command_finds_the_one_that_runs(directory: Path) -> None:
    home, one, two = directory / "home", directory / "one", directory / "two"
    nothing = manage("showmigrations", home=home)
    assert nothing.returncode == 2
    assert "python3 manage.py up" in nothing.stderr

    with _stack(one):
        assert (one / "env").stat().st_mode & 0o777 == 0o600
        with _stack(two):
            ambiguous = manage("showmigrations", home=home)
            assert ambiguous.returncode == 2
            assert f"\n  {one}\n  {two}\n" in ambiguous.stderr
            named = manage("showmigrations", "ledger", "--data-dir", str(two), home=home)
            assert named.returncode == 0, named.stderr
            assert "[ ] 0001_initial" in named.stdout

        stopped = manage("showmigrations", "--data-dir", str(two), home=home)
        assert stopped.returncode == 2
        assert f"up --data-dir {two}" in stopped.stderr
        only_one = manage("showmigrations", "ledger", home=home)
        assert only_one.returncode == 0, only_one.stderr
    assert places.running() == []


def test_a_directory_is_worked_on_by_one_stack(directory: Path) -> None:
    data_dir = directory / "data"
    with _stack(data_dir):
        second = _stack(data_dir)
        with pytest.raises(StackError, match="already"):
            second.start()
        second.stop()
        assert places.running() == [data_dir], "the refused one took nothing away"


@pytest.mark.skipif(os.geteuid() != 0, reason="only in root's place does PostgreSQL run as somebody else")
def test_root_is_told_of_a_place_that_the_server_cannot_enter(directory: Path) -> None:
    closed = directory / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StackError, match=f"may not enter {closed}"):
        _stack(closed / "data").start()


def test_an_interrupted_first_start_leaves_no_half_cluster(directory: Path) -> None:
    data_dir = directory / "data"
    (data_dir / "postgres.new").mkdir(parents=True)
    (data_dir / "postgres.new" / "PG_VERSION").write_text("half")
    with _stack(data_dir) as stack:
        assert stack.postgres.answers()
    assert not (data_dir / "postgres.new").exists()


def test_a_pid_file_that_names_another_program_is_no_hindrance(directory: Path) -> None:
    data_dir = directory / "data"
    with _stack(data_dir):
        pass
    # As after a power cut: the number belongs to another process by now, here to the tests themselves.
    (data_dir / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data_dir / 'postgres'}\n")
    with _stack(data_dir) as stack:
        assert stack.postgres.answers()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends the servers of a killed parent")
def test_servers_do_not_outlive_a_parent_that_was_killed(directory: Path) -> None:
    data_dir = directory / "data"
    program = (
        "import sys, time; from pathlib import Path; from pointsystem.embedded.stack import Stack\n"
        "Stack(data_dir=Path(sys.argv[1]), durable=False).start(); print('started', flush=True); "
        "time.sleep(600)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(data_dir)],
        env=shell_environment(POINTS_HOME=str(directory / "home")),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    assert places.running() == [data_dir]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert wait_until_gone(data_dir) == []
    assert places.running() == []
    log = (data_dir / "logs" / "postgres.log").read_text()
    assert "database system is shut down" in log, "the data was left clean"
