"""`manage.py` after its bootstrap: find the stack a command is to work on, then hand over to Django."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pointsystem.embedded import places

# Commands that start a stack of their own.
STARTERS = frozenset({"up", "test", "demo", "bench"})
# Commands that make sense without any database.
WITHOUT_STACK = frozenset(
    {
        "",
        "check",
        "collectstatic",
        "compilemessages",
        "contract",
        "diffsettings",
        "help",
        "legacy",
        "lintmigrations",
        "makemessages",
        "makemigrations",
        "version",
        "write_api_reference",
    }
)

EXIT_WRONG_USE = 2


def run(argv: list[str]) -> None:
    """Run one management command; never returns normally where that command ends the process."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pointsystem.settings")
    argv, named = take_data_dir(argv)
    if named:
        os.environ["POINTS_DATA_DIR"] = str(Path(named).absolute())
    command = next((word for word in argv[1:] if not word.startswith("-")), "")
    asks_for_help = {"-h", "--help", "--version"} & set(argv[1:])
    if command == "test":
        from pointsystem.embedded.testrun import run_tests

        raise SystemExit(run_tests(argv[argv.index("test") + 1 :]))
    if not os.environ.get("DATABASE_URL") and command not in STARTERS and not asks_for_help:
        # The other subcommands of `legacy` look at the legacy's own database alone.
        asks_the_ledger = command == "legacy" and "callers" in argv
        find_stack(needed=command not in WITHOUT_STACK or asks_the_ledger)

    from django.core.management import execute_from_command_line

    execute_from_command_line(argv)


def take_data_dir(argv: list[str]) -> tuple[list[str], str]:
    """Take `--data-dir DIR` (or `--data-dir=DIR`) out of the arguments: every command understands it."""
    rest: list[str] = []
    named = ""
    words = iter(argv)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--data-dir":
            named = next(words, "")
            if not named:
                _refuse("--data-dir needs a directory.")
        elif word.startswith("--data-dir="):
            named = word.split("=", 1)[1]
        else:
            rest.append(word)
    return rest, named


def find_stack(*, needed: bool) -> None:
    """Fill the environment from the running embedded stack, or end with exit code 2 and say what to do."""
    named = os.environ.get("POINTS_DATA_DIR", "")
    found = places.running()
    if named:
        data_dir = Path(named).absolute()
        if places.is_running(data_dir):
            _use(data_dir)
        elif needed:
            _refuse(
                f"No point system is running on {data_dir}.\n"
                f"Start it with: python3 manage.py up --data-dir {data_dir}"
            )
    elif len(found) == 1:
        _use(found[0])
    elif found and needed:
        listed = "\n".join(f"  {data_dir}" for data_dir in found)
        _refuse(f"Several point systems are running; name one by --data-dir or POINTS_DATA_DIR:\n{listed}")
    elif needed:
        _refuse(
            "There is no database to work on.\n"
            "Start the point system on this machine with: python3 manage.py up\n"
            "or set DATABASE_URL, REDIS_URL, CELERY_BROKER_URL and SECRET_KEY for servers of your own."
        )


def _use(data_dir: Path) -> None:
    try:
        environment = places.read_environment(data_dir)
    except PermissionError:
        _refuse(f"{data_dir / 'env'} belongs to another user; only that user can use the stack.")
    for name, value in environment.items():
        os.environ.setdefault(name, value)


def _refuse(text: str) -> None:
    print(text, file=sys.stderr)
    raise SystemExit(EXIT_WRONG_USE)
