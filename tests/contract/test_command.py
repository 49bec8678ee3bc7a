"""`manage.py contract` as an operator runs it: a process of its own, without a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pointsystem.contract import find_cases
from tests.contract.lying import Asked, Told, lying_server, problem
from tests.wrapped import Wrapped

ROOT = Path(__file__).resolve().parents[2]
FEW = "writes.earn*"


def contract(*arguments: str) -> subprocess.CompletedProcess[str]:
    hidden = (
        "DATABASE_URL",
        "MIGRATE_DATABASE_URL",
        "REDIS_URL",
        "CELERY_BROKER_URL",
        "DJANGO_SETTINGS_MODULE",
    )
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "contract", *arguments],
        env={**environment, "POINTS_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_it_ends_with_0_when_nothing_failed(live_server_url: str, keys: tuple[str, str]) -> None:
    done = contract("--base-url", live_server_url, "--key", keys[0], "--only", FEW)

    count = len(find_cases(FEW))
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.splitlines()[-1] == f"{count} cases: {count} passed, 0 failed, 0 unavailable, 0 skipped"
    )
    assert f"   1/{count} passed      writes.earn_answers_the_operation" in done.stderr


def test_it_tells_everything_as_json(live_server_url: str, keys: tuple[str, str]) -> None:
    done = contract("--base-url", live_server_url, "--key", keys[0], "--only", "operations.", "--json")

    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["failed"], found["skipped"]) == (0, 3)
    assert [case["name"] for case in found["cases"]] == [case.name for case in find_cases("operations.")]


def test_it_ends_with_1_and_shows_the_exchange_that_failed(
    live_server_url: str, keys: tuple[str, str]
) -> None:
    def lie(asked: Asked, ask: Callable[[Asked], Told]) -> Told:
        answer = ask(asked)
        if asked.is_of("/balance"):
            answer.json = {**answer.json, "available": answer.json["available"] + 1}
        return answer

    with lying_server(lie, live_server_url) as url:
        done = contract("--base-url", url, "--key", keys[0], "--only", "writes.earns_add_up")

    assert done.returncode == 1
    assert "-> available: expected 1, got 2" in done.stdout
    assert "> GET /api/v1/accounts/ct-" in done.stdout
    assert '"available": 2' in done.stdout
    assert keys[0] not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--base-url and --key are needed"),
        (["--base-url", "http://127.0.0.1:1", "--key", "k"], "cannot be reached"),
        (["--base-url", "127.0.0.1:8000", "--key", "k"], "is not the URL of a server"),
        (["--base-url", "http://127.0.0.1:1", "--key", "k", "--other-key", "k"], "of another client"),
        (["--base-url", "http://127.0.0.1:1", "--key", "k", "--only", "no.such"], "No case is called"),
    ],
)
def test_wrong_use_ends_with_2(arguments: list[str], said: str) -> None:
    done = contract(*arguments)

    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_key_that_is_refused_ends_with_2(live_server_url: str, keys: tuple[str, str]) -> None:
    unknown = contract("--base-url", live_server_url, "--key", "ps_000000000000_" + "a" * 43)
    other = contract("--base-url", live_server_url, "--key", keys[0], "--other-key", "unknown")

    assert (unknown.returncode, "does not know the key of --key" in unknown.stderr) == (2, True)
    assert (other.returncode, "does not know the key of --other-key" in other.stderr) == (2, True)


def test_a_key_without_a_scope_ends_with_2(live_server_url: str, product: Wrapped) -> None:
    key = product.make_client("reader", "points:read", "points:earn")

    done = contract("--base-url", live_server_url, "--key", key)

    assert done.returncode == 2
    assert "needs also: points:spend, points:cancel, points:transfer" in done.stderr


def test_a_server_that_is_no_point_system_ends_with_2() -> None:
    with lying_server(lambda asked, ask: problem(404, "not_found")) as url:
        done = contract("--base-url", url, "--key", "k")

    assert (done.returncode, "does not answer as a point system" in done.stderr) == (2, True)


def test_the_list_needs_no_server() -> None:
    done = contract("--list")

    assert done.returncode == 0
    assert len([line for line in done.stdout.splitlines() if line.startswith("    ")]) == len(find_cases())
