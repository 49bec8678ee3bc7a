"""`manage.py up`: started, used, killed and started again, as real processes."""

import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsystem.embedded.stack import Stack
from tests.pointsystem.embedded.machine import Up, child_of, manage, place, wait_until_gone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]


@pytest.fixture
def directory() -> Iterator[Path]:
    with place() as directory:
        yield directory


def _status(url: str) -> int:
    """The status of an HTTP answer, or 0 where there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_keeps_data_over_a_restart_and_leaves_nothing_behind(directory: Path) -> None:
    data_dir, home = directory / "data", directory / "home"
    first = Up(data_dir, home=home)
    assert _status(f"{first.url}/admin/login/") == 200
    assert "sign in as admin with " in first.text()
    assert (data_dir / "env").stat().st_mode & 0o777 == 0o600

    assert first.end(signal.SIGTERM) == 0, first.text()
    assert wait_until_gone(data_dir) == []
    assert not (data_dir / "env").exists()

    second = Up(data_dir, home=home)
    assert _status(f"{second.url}/admin/login/") == 200
    assert "sign in as" not in second.text(), "the administrator of the first start is still there"

    # Killed, it has no chance to stop anything.
    second.process.kill()
    second.process.wait()
    assert wait_until_gone(data_dir) == []

    with Stack(data_dir=data_dir, listed=False) as stack, stack.postgres.connect("points") as connection:
        assert connection.execute("SELECT username FROM auth_user").fetchall() == [("admin",)]


def test_starts_again_what_dies_and_refuses_a_second_start_beside_it(directory: Path) -> None:
    data_dir, home = directory / "data", directory / "home"
    up = Up(data_dir, home=home)
    url, port = up.url, up.url.rpartition(":")[2]

    same_directory = manage("up", "--port", "0", "--data-dir", str(data_dir), home=home)
    assert same_directory.returncode == 1
    assert f"running on {data_dir} already" in same_directory.stderr
    same_port = manage("up", "--port", port, "--data-dir", str(directory / "other"), home=home)
    assert same_port.returncode == 1
    assert f"Port {port} cannot be used" in same_port.stderr
    assert wait_until_gone(directory / "other") == []

    children = {
        "web": "granian",
        "worker": " worker@",
        "Valkey": "valkey-server",
        "PostgreSQL": "postgres -D",
    }
    for name, word in children.items():
        os.kill(child_of(up.process.pid, word), signal.SIGKILL)
        up.wait_for(f"{name} ended (by SIGKILL), starting it again")
    deadline = time.monotonic() + 60
    # The page needs no database, which may still be recovering.
    for is_back in (
        lambda: _status(f"{url}/admin/login/") == 200,
        lambda: manage("showmigrations", "auth", home=home).returncode == 0,
    ):
        while not is_back():
            assert time.monotonic() < deadline, up.text()
            time.sleep(0.2)
    assert up.end(signal.SIGINT) == 0
    assert wait_until_gone(data_dir) == []
