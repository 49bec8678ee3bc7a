"""`manage.py` before Django: the environment it builds for itself, with no network and no package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The Python behind the virtual environment that runs the tests.
PYTHON = os.path.realpath(sys.executable)

has_pip = subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not has_pip, reason="the base Python has no pip")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one file: what it runs after the bootstrap prints where it runs."""
    package = tmp_path / "pointsystem" / "embedded"
    package.mkdir(parents=True)
    for directory in (package.parent, package):
        (directory / "__init__.py").touch()
    (package / "commandline.py").write_text(
        "import sys\n\ndef run(argv):\n    print('running in', sys.prefix, *argv[1:])\n"
    )
    (tmp_path / "manage.py").write_text((ROOT / "manage.py").read_text())
    (tmp_path / "requirements.lock").write_text("# no packages\n")
    return tmp_path


def _start(project: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    # Without an index pip finds no uv, so that the fall-back to pip is what runs here.
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.Popen(
        [PYTHON, str(project / "manage.py"), *arguments],
        env={**kept, **offline, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(project: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    process = _start(project, *arguments, **environment)
    output, errors = process.communicate(timeout=180)
    return process.returncode, output, errors


def test_builds_the_environment_once_and_runs_in_it(project: Path) -> None:
    code, output, errors = _run(project, "help", "--verbose")
    assert code == 0, errors
    assert output == f"running in {project / '.venv'} help --verbose\n"
    assert "[3/3] installing 0 packages" in errors

    code, output, errors = _run(project, "help")
    assert (code, output, errors) == (0, f"running in {project / '.venv'} help\n", "")


def test_builds_again_when_the_lock_has_changed(project: Path) -> None:
    assert _run(project, "help")[0] == 0
    (project / "requirements.lock").write_text("# other packages\n")
    code, _, errors = _run(project, "help")
    assert code == 0
    assert "building the environment" in errors


def test_a_failed_build_is_never_taken_for_a_finished_one(project: Path) -> None:
    (project / "requirements.lock").write_text(f"nowhere-to-be-found==1.0 --hash=sha256:{'0' * 64}\n")
    for _ in range(2):
        code, output, errors = _run(project, "help")
        assert code == 1
        assert output == ""
        assert "The environment could not be built" in errors
        assert not (project / ".venv" / ".lock-sha").exists()

    (project / "requirements.lock").write_text("# no packages\n")
    assert _run(project, "help")[0] == 0


def test_two_starts_at_once_build_one_environment(project: Path) -> None:
    both = [_start(project, "help") for _ in range(2)]
    answers = [process.communicate(timeout=180) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert [output for output, _ in answers] == [f"running in {project / '.venv'} help\n"] * 2
    assert sum("environment ready" in errors for _, errors in answers) == 1


def test_leaves_a_production_image_alone(project: Path) -> None:
    code, output, errors = _run(project, "help", POINTS_NO_BOOTSTRAP="1")
    assert (code, output, errors) == (0, f"running in {sys.base_prefix} help\n", "")
    assert not (project / ".venv").exists()


def test_throws_away_the_environment_of_a_project_that_was_moved(project: Path) -> None:
    assert _run(project, "help")[0] == 0
    moved = project.with_name(project.name + "-moved")
    project.rename(moved)
    code, output, errors = _run(moved, "help")
    assert (code, output) == (0, f"running in {moved / '.venv'} help\n"), errors


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_says_that_it_cannot_write(project: Path) -> None:
    project.chmod(0o500)
    try:
        code, _, errors = _run(project, "help")
    finally:
        project.chmod(0o700)
    assert code == 2
    assert f"Cannot write to {project}" in errors
