"""THE MAIN JOB: a point system of stored procedures is replaced under live traffic, and proved right."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pointsystem.demo import places
from pointsystem.demo.timeline import TIME_ZONE
from pointsystem.embedded.processes import StackError, die_with_parent
from pointsystem.embedded.stack import ROOT, Stack

CLIENTS = 8
#: A shop with few reads a second: enough of them are to be compared between two stages.
SHADOW_SAMPLE = "0.3"
MOST_CLIENTS = 64
EXIT_DONE = 0
EXIT_FOUND_SOMETHING_WRONG = 1
EXIT_WRONG_USE = 2

# The demo needs only what it starts, and must never reach a server that is meant for something else.
FORGOTTEN = (
    "DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "LEGACY_DATABASE_URL",
    "LEGACY_ADAPTER",
    "POINTS_LEGACY_TIME_ZONE",
    "POINTS_CUTOVER",
    "POINTS_CUTOVER_SECOND_PERSON",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "SECRET_KEY",
    "DEBUG",
    "ALLOWED_HOSTS",
    "METRICS_TOKEN",
    "POINTS_HTTPS",
    "POINTS_DB_POOL",
    "STATIC_ROOT",
)


class Command(BaseCommand):
    help = (
        "Start everything on this machine, load a legacy with real orders through its procedures, and "
        "perform the whole cutover under live traffic on a simulated clock; print a report that proves each "
        "step, then serve until Ctrl-C. Ends with 0 only if every proof holds."
    )
    requires_system_checks = ()

    #: The exit code of the run, once there is one, and the process that it runs in.
    _code: int | None = None
    _player: subprocess.Popen[bytes] | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--exit", action="store_true", help="end after the report")
        parser.add_argument("--orders", type=int, help="play only the first N orders of the file")
        parser.add_argument(
            "--clients", type=int, default=CLIENTS, help="requests under way at once (default: %(default)s)"
        )
        parser.add_argument(
            "--data-dir", help="an empty directory to keep the data in (default: a fresh one)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        named = options["data_dir"] or os.environ.get("POINTS_DATA_DIR")
        if not named:
            places.sweep()
        data_dir = _empty(Path(named)) if named else places.fresh_directory()
        if os.environ.get("DATABASE_URL"):
            self._say("DATABASE_URL is left alone: the demo starts servers of its own.")
        for name in FORGOTTEN:
            os.environ.pop(name, None)
        settings = {
            "POINTS_CLOCK": "simulated",
            "POINTS_TIME_ZONE": TIME_ZONE,
            "POINTS_SHADOW_SAMPLE": SHADOW_SAMPLE,
        }
        stack = Stack(data_dir=data_dir, say=self._say, settings=settings, with_legacy=True)
        code = self._run_and_stop(stack, options)
        if not named:
            places.throw_data_away(data_dir, keep_logs=self._code == EXIT_FOUND_SOMETHING_WRONG)
        if code:
            raise SystemExit(code)

    def _run_and_stop(self, stack: Stack, options: dict[str, Any]) -> int:
        """The exit code, once everything has ended, however it ended."""
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        try:
            code = self._run(stack, options)
            if not options["exit"]:
                self._serve()
            return code
        except StackError as error:
            self.stderr.write(str(error))
            return EXIT_FOUND_SOMETHING_WRONG
        except _Stopped as stopped:
            self._say("\nstopping")
            return stopped.code if self._code is None else self._code
        finally:
            # What began to stop stops in order, however often Ctrl-C is pressed.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if self._player is not None:
                self._player.kill()
                self._player.wait()
            stack.stop()

    def _run(self, stack: Stack, options: dict[str, Any]) -> int:
        """The exit code of the run, once the report is printed."""
        started = time.monotonic()

        def passed() -> str:
            return f"{time.monotonic() - started:.1f} s"

        self._say(f"Starting PostgreSQL and Valkey in {stack.data_dir}")
        stack.start()
        self._say(f"Making the tables ({passed()})")
        administrator = stack.prepare()["administrator"]
        stack.manage("legacy", "install")
        self._say(f"Starting web server, workers and beat ({passed()})")
        stack.start_web()
        stack.start_workers()
        self._say(f"Ready at {stack.url} ({passed()})\n")
        self._code = self._play(stack, options)
        if self._code == EXIT_FOUND_SOMETHING_WRONG:
            self._say(f"  {'logs':<16} {stack.data_dir / places.LOGS}")
        if not options["exit"]:
            self._tell(stack, administrator)
        return self._code

    def _play(self, stack: Stack, options: dict[str, Any]) -> int:
        """Run the demo's own process, which has the settings of the stack."""
        report_dir = stack.data_dir / places.REPORT
        report_dir.mkdir()
        command = [sys.executable, "-m", "pointsystem.demo", "--url", stack.url]
        command += ["--report-dir", str(report_dir), "--clients", str(options["clients"])]
        if options["orders"]:
            command += ["--orders", str(options["orders"])]
        self._player = subprocess.Popen(
            command,
            # Commands run in it, and what they do is told in words.
            env={**os.environ, **stack.environment(), "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"},
            cwd=ROOT,
            # Ctrl-C reaches this process alone, which ends the other one first.
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        return EXIT_FOUND_SOMETHING_WRONG if self._player.wait() else EXIT_DONE

    def _tell(self, stack: Stack, administrator: dict[str, str]) -> None:
        visitor = json.loads(stack.manage("create_client", "visitor", "--scope", "points:read", "--json"))
        lines = [
            "",
            "Look around. The clock stands at the end of the last day.",
            f"  API docs     {stack.url}/api/docs",
            f"  Back office  {stack.url}/admin/",
            f"  Sign in as   {administrator['username']} with {administrator['password']}",
            f"  API key      {visitor['key']} (reads only)",
            f"  Logs         {stack.log('web').parent}",
            "",
            f"  curl -H 'Authorization: Bearer {visitor['key']}' {stack.url}/api/v1/accounts/CD-0001/history",
            "",
            "Serving until Ctrl-C.",
        ]
        for line in lines:
            self._say(line)

    def _serve(self) -> None:
        while True:
            time.sleep(3600)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class _Stopped(BaseException):
    """SIGTERM or Ctrl-C came; `code` is what the shell expects of a process that ended by it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _stop(signal_number: int, frame: FrameType | None) -> None:
    # Only the first one: a second exception would interrupt the stopping.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _Stopped(128 + signal_number)


def _check(options: dict[str, Any]) -> None:
    if options["orders"] is not None and options["orders"] < 1:
        raise CommandError("--orders must be at least 1.", returncode=EXIT_WRONG_USE)
    if not 1 <= options["clients"] <= MOST_CLIENTS:
        raise CommandError(f"--clients must be 1 to {MOST_CLIENTS}.", returncode=EXIT_WRONG_USE)


def _empty(data_dir: Path) -> Path:
    if data_dir.exists() and (not data_dir.is_dir() or any(data_dir.iterdir())):
        raise CommandError(
            f"{data_dir} is not an empty directory; the demo starts from nothing. Name another --data-dir.",
            returncode=EXIT_WRONG_USE,
        )
    return data_dir
