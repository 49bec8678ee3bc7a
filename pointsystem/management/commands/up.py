"""Everything on one machine, until Ctrl-C or SIGTERM."""

import os
import signal
import time
from argparse import ArgumentParser
from pathlib import Path
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pointsystem.embedded.places import default_data_dir
from pointsystem.embedded.processes import StackError
from pointsystem.embedded.stack import Stack

DEFAULT_PORT = 8000


class Command(BaseCommand):
    help = (
        "Run everything on this machine until Ctrl-C or SIGTERM: PostgreSQL and Valkey, web server, workers. "
        "The data is kept. With DATABASE_URL set, on the servers that the environment names."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, default=DEFAULT_PORT, help="of the web server; 0 for any that is free"
        )
        parser.add_argument(
            "--data-dir",
            default=os.environ.get("POINTS_DATA_DIR") or str(default_data_dir()),
            help="where the data is kept (default: %(default)s)",
        )
        parser.add_argument(
            "--legacy",
            choices=["postgres"],
            help="also run the reference legacy, which then decides (stage LEGACY_ONLY) until the cutover; "
            "a data directory keeps it",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stack = Stack(
            data_dir=Path(options["data_dir"]),
            own_servers=not os.environ.get("DATABASE_URL"),
            with_legacy=options["legacy"] is not None,
            say=self._say,
        )
        if options["legacy"] and os.environ.get("DATABASE_URL"):
            raise CommandError(
                "--legacy is for the embedded servers. With DATABASE_URL set, name a legacy by "
                "LEGACY_DATABASE_URL, and run `legacy install` for the reference one.",
                returncode=2,
            )
        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        try:
            self._run(stack, port=options["port"])
        except StackError as error:
            raise CommandError(str(error)) from error
        except _Stopped:
            self._say("stopping")
        finally:
            # What began to stop stops in order, however often Ctrl-C is pressed.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            stack.stop()
        self._say("stopped")

    def _run(self, stack: Stack, *, port: int) -> None:
        self._say(f"starting on {stack.data_dir}")
        stack.start()
        self._say("migrating the database")
        administrator = stack.prepare()["administrator"]
        if administrator:
            # At once, and not at the end: it can never be shown again, whatever fails after this.
            self._say(
                f"made the first administrator: sign in as {administrator['username']} "
                f"with {administrator['password']} (shown this once)"
            )
        if stack.has_legacy:
            self._say("installing the reference legacy where it is missing")
            stack.manage("legacy", "install", "--if-missing")
        self._say("starting web server and workers")
        stack.start_web(port=port)
        stack.start_workers()
        self._tell(stack)
        while True:
            time.sleep(3600)

    def _tell(self, stack: Stack) -> None:
        lines = [
            "",
            f"  API          {stack.url}/api/v1/",
            f"  API docs     {stack.url}/api/docs",
            f"  Back office  {stack.url}/admin/",
            *(["  Legacy       the reference legacy, in the database `legacy`"] if stack.has_legacy else []),
            f"  Logs         {stack.log('web').parent}",
            "",
            "ready: stop with Ctrl-C",
        ]
        for line in lines:
            self._say(line)

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


class _Stopped(BaseException):
    """SIGTERM or Ctrl-C came."""


def _stop(signal_number: int, frame: FrameType | None) -> None:
    # Only the first one: a second exception would interrupt the stopping.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise _Stopped
