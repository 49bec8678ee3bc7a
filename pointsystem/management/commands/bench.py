"""Measures the product beside its other sides and prints one table: docs/operating/performance.md."""

import os
import subprocess
import sys
import traceback
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pointsystem.embedded.places import home
from pointsystem.embedded.processes import StackError
from pointsystem.embedded.stack import ROOT

WRONG_USE = 2
_RESULTS = ROOT / "bench-results"


class Command(BaseCommand):
    help = (
        "Measure the product and its other sides in one run, on an embedded stack of its own with fsync on. "
        "Ratios are what counts; give the machine nothing else to do."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", default="", metavar="P1,P2", help="these figures (default: all)")
        parser.add_argument("--seconds", type=float, default=8.0, help="of each counted run (default: 8)")
        parser.add_argument("--rounds", type=int, default=3, help="counted runs of each side (default: 3)")
        parser.add_argument("--accounts", type=int, default=100_000, help="at the start (default: 100000)")
        parser.add_argument(
            "--ledger-allocations",
            type=int,
            default=1_000_000,
            help="of the big ledger of P6 and P16 (default: 1000000; P6 is stated for 10000000)",
        )
        parser.add_argument("--requests", type=int, default=100_000, help="for P17 (default: 100000)")
        parser.add_argument(
            "--migrated-accounts",
            type=int,
            default=20_000,
            metavar="N",
            help="accounts of P12, with about ten rows each (default: 20000)",
        )
        parser.add_argument(
            "--pgledger-sql",
            action="append",
            default=[],
            type=Path,
            metavar="FILE",
            help="the SQL of pgledger, in the order of loading; may be given again",
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
        parser.add_argument(
            "--results-dir", type=Path, default=_RESULTS, help="for table and plots (default: %(default)s)"
        )
        parser.add_argument(
            "--work-dir",
            type=Path,
            default=home() / "bench",
            help="for the stack; emptied first (default: %(default)s)",
        )
        parser.add_argument(
            "--install-peers",
            action="store_true",
            help="install FastAPI, uvicorn and django-hordak beside the results, and end",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        results: Path = options["results_dir"].absolute()
        results.mkdir(parents=True, exist_ok=True)
        if options["install_peers"]:
            _install_peers(results / "peers")
            return
        from bench import machine, plots, report
        from bench.figures import FIGURES
        from bench.figures.options import Options
        from bench.world import World

        wanted = [name.strip().upper() for name in options["only"].split(",") if name.strip()] or list(
            FIGURES
        )
        unknown = [name for name in wanted if name not in FIGURES]
        if unknown:
            known = ", ".join(FIGURES)
            raise CommandError(
                f"There is no figure {', '.join(unknown)}; there are {known}.", returncode=WRONG_USE
            )
        chosen = Options(
            tell=self._tell,
            seconds=options["seconds"],
            rounds=options["rounds"],
            ledger_allocations=options["ledger_allocations"],
            requests_for_memory=options["requests"],
            migrated_accounts=options["migrated_accounts"],
            pgledger_sql=options["pgledger_sql"],
        )
        rows: list[Any] = []
        described: dict[str, str] = {}
        try:
            with World(
                data_dir=options["work_dir"].absolute(),
                results_dir=results,
                peers_dir=results / "peers",
                accounts=options["accounts"],
                tell=self._tell,
            ) as world:
                described = machine.described(world)
                for name in wanted:
                    self._tell(name)
                    rows.extend(self._measured(name, FIGURES[name], world, chosen))
                    # After each figure: a run takes long, and what it found until now stays.
                    (results / "table.md").write_text(report.markdown(rows, described))
                    report.write_json(options["json"] or results / "measured.json", rows, described)
                    plots.write(results, rows)
        except StackError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self._tell("interrupted: what was measured until now")
        if not rows:
            return
        for key, value in described.items():
            self.stdout.write(f"{key}: {value}")
        self.stdout.write("\n" + report.table(rows))
        self.stdout.write(f"\n{results / 'table.md'}, and plots beside it")

    def _measured(self, name: str, figure: Any, world: Any, chosen: Any) -> list[Any]:
        """The rows of one figure; what went wrong with it must not lose the others."""
        from bench.row import missing

        try:
            rows: list[Any] = figure(world, chosen)
        except Exception as error:
            self._tell("".join(traceback.format_exception(error)))
            rows = [missing(name, "could not be measured", other="-", target="", note=repr(error)[:200])]
        return rows

    def _tell(self, text: str) -> None:
        self.stderr.write(text)
        self.stderr.flush()


def _install_peers(directory: Path) -> None:
    """Into a directory of their own: nobody who runs the product needs them."""
    uv = Path(sys.prefix) / "boot" / "bin" / "uv"
    pip = [str(uv), "pip"] if uv.exists() else [sys.executable, "-m", "pip"]
    command = [*pip, "install", "--target", str(directory), "--no-deps", "-r", "bench/peers/requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), check=False)
    if done.returncode:
        raise CommandError("The peers could not be installed; what was said stands above.")
