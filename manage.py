#!/usr/bin/env python3
"""The one command of the project: `python3 manage.py COMMAND`.

Any Python from 3.11 to 3.14 with pip can run it. Before Django is imported this file builds `.venv` from
`requirements.lock` with the standard library alone, and starts itself again inside it. An active virtual
environment, or POINTS_NO_BOOTSTRAP=1, is left as it is: a production image brings its own packages.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / ".lock-sha"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST, NEWEST = (3, 11), (3, 14)

EXIT_FAILED = 1
EXIT_WRONG_USE = 2


def main() -> None:
    if _needs_bootstrap():
        bootstrap()
        _keep_bytecode()
        os.execv(PYTHON, [str(PYTHON), str(ROOT / "manage.py"), *sys.argv[1:]])  # noqa: S606
    from pointsystem.embedded.commandline import run

    run(sys.argv)


def _keep_bytecode() -> None:
    """Where Python may write no bytecode beside its files, it still may inside our own `.venv`.

    A stack is a dozen processes, and each would compile Django again, for three seconds of a processor.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(VENV / "bytecode"))


def _needs_bootstrap() -> bool:
    return sys.prefix == sys.base_prefix and os.environ.get("POINTS_NO_BOOTSTRAP", "") in ("", "0")


def bootstrap() -> None:
    """Build `.venv` unless it already answers to this lock file and this Python.

    Raises SystemExit with a sentence that says what to do when it cannot be built. The stamp is removed
    first and written last, so that a build which was interrupted is never taken for a finished one.
    """
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        _give_up(
            f"Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]} is needed, "
            f"this is {sys.version.split()[0]} ({sys.executable}).",
            EXIT_WRONG_USE,
        )
    wanted = hashlib.sha256(LOCK.read_bytes() + sys.version.encode() + str(ROOT).encode()).hexdigest()
    if _stamp() == wanted:
        return
    with _one_at_a_time():
        if _stamp() == wanted:
            return
        _build(wanted)


def _stamp() -> str:
    try:
        return STAMP.read_text().strip() if PYTHON.exists() else ""
    except OSError:
        return ""


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two commands started at once on a fresh machine: the second waits for the environment of the first."""
    try:
        handle = open(ROOT / ".venv.lock", "a")  # noqa: SIM115
    except OSError as error:
        _give_up(
            f"Cannot write to {ROOT} ({error.strerror}), so the environment cannot be built there. "
            "Use a copy of the project that you own, or an active virtual environment.",
            EXIT_WRONG_USE,
        )
    with handle:
        try:
            import fcntl
        except ImportError:
            yield
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another command is building the environment, waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(wanted: str) -> None:
    started = time.monotonic()
    _say(f"first start: building the environment in {VENV}")
    STAMP.unlink(missing_ok=True)
    try:
        _create_venv()
        packages = sum("==" in line for line in LOCK.read_text().splitlines())
        _say(f"[2/3] fetching the installer ({_since(started)})")
        uv = _install_uv()
        _say(f"[3/3] installing {packages} packages from requirements.lock ({_since(started)})")
        if uv is None or not _install_with_uv(uv):
            _say("      with pip, which takes about half a minute")
            _install_with_pip()
    except subprocess.CalledProcessError as error:
        _give_up(
            f"The environment could not be built: `{' '.join(map(str, error.cmd[:6]))} ...` ended with "
            f"{error.returncode}; its own words are above.\n"
            "Needed are a network (or a package mirror set up for pip) and `python3 -m pip`. "
            "The next start tries again.",
            EXIT_FAILED,
        )
    partial = STAMP.with_suffix(".part")
    partial.write_text(wanted + "\n")
    partial.replace(STAMP)
    _say(f"environment ready ({_since(started)})")


def _create_venv() -> None:
    """`--without-pip`, because Debian keeps ensurepip in a package of its own (python3-venv)."""
    _say("[1/3] creating the virtual environment")
    if VENV.exists() and not _same_python():
        shutil.rmtree(VENV)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)


def _same_python() -> bool:
    """An environment of another Python, or of a project directory that was moved, is thrown away."""
    question = "import sys; print(sys.version, sys.prefix, sep='|')"
    try:
        answer = subprocess.run([PYTHON, "-c", question], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return answer.stdout.strip() == f"{sys.version}|{VENV}".strip()


def _install_uv() -> Path | None:
    """The path of uv, or None where pip finds no wheel of it for this machine.

    `--target` is exempt from PEP 668, under which Debian refuses any other `pip install`.
    """
    boot = VENV / "boot"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-warn-script-location", "--root-user-action=ignore", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--upgrade", "--target", str(boot), "uv"], check=False)
    uv = boot / "bin" / "uv"
    return uv if done.returncode == 0 and uv.exists() else None


def _install_with_uv(uv: Path) -> bool:
    command = [
        str(uv),
        "pip",
        "install",
        "--python",
        str(PYTHON),
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    # uv hard-links out of its cache, which is often on another filesystem: copying is quiet and safe.
    environment = {**os.environ, "UV_LINK_MODE": "copy", "UV_PYTHON_DOWNLOADS": "never"}
    # As pip does, so that a network with an authority of its own is believed where the machine believes it.
    environment.setdefault("UV_SYSTEM_CERTS", "1")
    if not sys.stderr.isatty():
        environment["UV_NO_PROGRESS"] = "1"
    return (
        subprocess.run([*command, "--quiet", "-r", str(LOCK)], env=environment, check=False).returncode == 0
    )


def _install_with_pip() -> None:
    command = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--root-user-action=ignore"]
    command += ["--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)]
    subprocess.run(command, check=True)


def _since(started: float) -> str:
    return f"{time.monotonic() - started:.1f} s"


def _say(text: str) -> None:
    print(f"manage.py: {text}", file=sys.stderr, flush=True)


def _give_up(text: str, code: int) -> None:
    print(f"manage.py: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
