"""Run the contract suite against a live server: docs/reference/contract.md."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from pointsystem.contract import Result, find_cases, preflight, reference, report, run_suite
from pointsystem.contract.registry import Case

FOUND_SOMETHING = 1
WRONG_USE = 2


class Command(BaseCommand):
    help = (
        "Proves over HTTP that a server keeps the contract of the API. It writes: every case earns and "
        "spends on new accounts, whose numbers begin with ct-. The key needs every scope but operations:any."
    )
    # It talks to a server and to nothing else: neither settings nor a database matter.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--base-url", metavar="URL", help="such as http://127.0.0.1:8000")
        parser.add_argument("--key", help="the key of a client (create_client makes one)")
        parser.add_argument(
            "--other-key", metavar="KEY", help="the key of a second client; without it some cases are skipped"
        )
        parser.add_argument(
            "--only",
            default="",
            metavar="PATTERN",
            help="cases whose name holds it; * and ? match whole names",
        )
        parser.add_argument("--json", action="store_true", help="print all results as JSON")
        parser.add_argument("--list", action="store_true", help="print the cases and what they promise")
        parser.add_argument("--reference", action="store_true", help="print docs/reference/contract.md")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reference"]:
            self.stdout.write(reference.page(), ending="")
            return
        chosen = find_cases(options["only"])
        if not chosen:
            raise CommandError(f"No case is called {options['only']}; see --list.", returncode=WRONG_USE)
        if options["list"]:
            for case in chosen:
                self.stdout.write(reference.line(case))
            return
        self._check(options)
        self._run(options, chosen)

    def _check(self, options: dict[str, Any]) -> None:
        base_url, key, other_key = (options[name] for name in ("base_url", "key", "other_key"))
        if not base_url or not key:
            raise CommandError("--base-url and --key are needed.", returncode=WRONG_USE)
        if other_key == key:
            raise CommandError("--other-key must be of another client.", returncode=WRONG_USE)
        try:
            preflight.check(base_url, key)
            if other_key:
                preflight.check(base_url, other_key, shown_as="--other-key")
        except preflight.WrongUse as refusal:
            raise CommandError(str(refusal), returncode=WRONG_USE) from refusal

    def _run(self, options: dict[str, Any], chosen: list[Case]) -> None:
        told = 0

        def tell(result: Result) -> None:
            nonlocal told
            told += 1
            self.stderr.write(report.progress(result, place=told, total=len(chosen)))
            self.stderr.flush()

        results = run_suite(
            options["base_url"], options["key"], options["other_key"], chosen=chosen, tell=tell
        )
        if options["json"]:
            self.stdout.write(json.dumps(results.as_json(), ensure_ascii=False))
        else:
            self.stdout.write("\n" + report.summary(results))
        if results.has_failed:
            raise SystemExit(FOUND_SOMETHING)
