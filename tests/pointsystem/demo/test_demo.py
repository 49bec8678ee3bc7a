"""`manage.py demo` as a person runs it: two at once, one of them tampered with, and one interrupted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.pointsystem.embedded.machine import (
    ROOT,
    START_SECONDS,
    STOP_SECONDS,
    place,
    shell_environment,
    wait_until_gone,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
]

ORDERS = 200
PROOFS = 18
# Generous: what is waited for is an end, and a busy machine may take long to get there.
RUN_SECONDS = 600
ORDERS_FILE = ROOT / "pointsystem" / "demo" / "data" / "CDNOW_sample.txt"


class Demo:
    """A running `manage.py demo --exit`; its output is kept beside its home."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.output = home.with_name(f"{home.name}.out")
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "demo", "--exit", *arguments],
                env=shell_environment(POINTS_HOME=str(home), PYTHONIOENCODING="utf-8"),
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + RUN_SECONDS
        while words not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)

    @property
    def data_dir(self) -> Path:
        (found,) = (self.home / "demo").iterdir()
        return found

    def environment(self) -> dict[str, str]:
        lines = (self.data_dir / "env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@dataclass(frozen=True, kw_only=True)
class Ended:
    code: int
    text: str
    data_dir: Path
    leftovers: Sequence[int]

    def total(self, name: str) -> int:
        found = re.search(rf"^  {name} +([+-]?[\d,]+)  ", self.text, re.MULTILINE)
        assert found is not None, self.text
        return int(found[1].replace(",", ""))


def _wait(demo: Demo) -> Ended:
    code = demo.process.wait(RUN_SECONDS)
    data_dir = demo.data_dir
    return Ended(code=code, text=demo.text(), data_dir=data_dir, leftovers=wait_until_gone(demo.home))


def _tamper(demo: Demo) -> None:
    """Give somebody who orders no more a point that nobody granted, as only the owner of the tables can."""
    demo.wait_for("cutover thaw")
    with psycopg.connect(demo.environment()["MIGRATE_DATABASE_URL"], autocommit=True) as connection:
        changed = connection.execute(
            "UPDATE ledger_account SET balance = balance + 1 WHERE account_number = 'CD-0003' RETURNING id"
        ).fetchall()
    assert len(changed) == 1


@pytest.fixture(scope="module")
def ended() -> Iterator[tuple[Ended, Ended]]:
    """An honest run and a tampered one, side by side."""
    with place() as directory:
        honest = Demo(directory / "honest", "--orders", str(ORDERS))
        tampered = Demo(directory / "tampered", "--orders", str(ORDERS), "--clients", "3")
        _tamper(tampered)
        yield _wait(honest), _wait(tampered)


def test_proves_an_honest_run(ended: tuple[Ended, Ended]) -> None:
    honest = ended[0]
    assert honest.code == 0, honest.text
    assert "Every proof holds." in honest.text
    proofs = honest.text.split("\nProofs\n")[1]
    assert proofs.count("  holds    ") == PROOFS
    assert "BROKEN" not in proofs
    assert "unknown" not in proofs


def test_prints_the_totals_that_orders_and_answers_amount_to(ended: tuple[Ended, Ended]) -> None:
    honest = ended[0]
    with open(honest.data_dir / "report" / "client-log.jsonl") as log:
        lines = [json.loads(line) for line in log]
    done = [line for line in lines if line["kind"] != "repeat" and line["status"] in (201, 202)]

    def points(kind: str) -> int:
        return sum(line["points"] for line in done if line["kind"] == kind)

    rows = [row.split() for row in ORDERS_FILE.read_text().splitlines()[:ORDERS]]
    rewards = [
        line
        for line in done
        if line["kind"] == "earn"
        and (line.get("key", line["operation_id"]).removeprefix("direct:earn:").startswith("order-"))
    ]
    assert sum(line["points"] for line in rewards) == sum(int(row[4].replace(".", "")) // 10 for row in rows)

    assert honest.total("issued") == points("earn")
    assert honest.total("spent") == -points("spend")
    assert honest.total("given") == -points("transfer")
    assert honest.total("received") == points("transfer")
    names = ("issued", "spent", "restored", "cancelled", "expired", "given", "received")
    assert honest.total("outstanding") == sum(honest.total(name) for name in names)
    accounts = {line["account_number"] for line in lines if line["account_number"]}
    accounts |= {line["to_account_number"] for line in done if line["kind"] == "transfer"}
    assert f"on {len(accounts)} accounts" in honest.text


def test_every_rule_is_met(ended: tuple[Ended, Ended]) -> None:
    with open(ended[0].data_dir / "report" / "client-log.jsonl") as log:
        lines = [json.loads(line) for line in log]
    met = {(line["kind"], line["status"]) for line in lines}
    assert {("earn", 201), ("earn", 202), ("spend", 201), ("spend", 422), ("cancel", 201)} <= met
    assert {("transfer", 201), ("transfer", 409), ("settled", 200), ("repeat", 201), ("balance", 200)} <= met
    parts = [line for line in lines if line["kind"] == "cancel"]
    assert {"points" in line for line in parts} == {True, False}, "whole and partial"


def test_every_stage_is_gone_through_and_one_of_them_twice(ended: tuple[Ended, Ended]) -> None:
    moves = re.findall(r"`cutover (?:advance|rollback)`: (\w+) -> (\w+), epoch", ended[0].text)
    assert moves == [
        ("LEGACY_ONLY", "LEGACY_FIRST"),
        ("LEGACY_FIRST", "NEW_FIRST"),
        ("NEW_FIRST", "LEGACY_FIRST"),
        ("LEGACY_FIRST", "NEW_FIRST"),
        ("NEW_FIRST", "NEW_ONLY"),
    ]
    assert "`cutover finish`" in ended[0].text


def test_services_leave_the_procedures_one_after_the_other(ended: tuple[Ended, Ended]) -> None:
    with open(ended[0].data_dir / "report" / "client-log.jsonl") as log:
        lines = [json.loads(line) for line in log]
    earns = [line for line in lines if line["kind"] == "earn"]
    direct = [line for line in earns if "row" in line]
    through_api = [line for line in earns if "key" in line]
    assert direct
    assert through_api
    assert not [line for line in direct if line["at"] >= "1997-12-18"]
    assert not [line for line in through_api if line["at"] < "1997-10-01"]


def test_draws_the_months(ended: tuple[Ended, Ended]) -> None:
    picture = ended[0].data_dir / "report" / "points-by-month.svg"
    assert str(picture) in ended[0].text
    drawn = ET.parse(picture)  # noqa: S314
    titles = [title.text or "" for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("1997-01: ") and title.endswith(" points issued") for title in titles)
    assert any(title.startswith("1998-01: ") and title.endswith(" points expired") for title in titles)


def test_leaves_its_report_and_nothing_else(ended: tuple[Ended, Ended]) -> None:
    for one in ended:
        assert one.leftovers == []
        # Logs stay where somebody will look for a cause.
        kept = ["report"] if one.code == 0 else ["logs", "report"]
        assert sorted(entry.name for entry in one.data_dir.iterdir()) == kept
        assert "Every" in (text := (one.data_dir / "report" / "report.txt").read_text())
        assert "Proofs" in text


def test_a_point_that_nobody_granted_is_found(ended: tuple[Ended, Ended]) -> None:
    tampered = ended[1]
    assert tampered.code == 1, tampered.text
    assert "NOT PROVED" in tampered.text
    assert "BROKEN   verify_ledger" in tampered.text
    assert "Every proof holds." not in tampered.text


def test_ctrl_c_in_the_middle_stops_everything() -> None:
    with place() as directory:
        demo = Demo(directory / "home", "--orders", "300")
        demo.wait_for("1997-01")
        demo.process.send_signal(signal.SIGINT)
        assert demo.process.wait(STOP_SECONDS) == 128 + signal.SIGINT
        assert wait_until_gone(demo.home) == []
        assert "Proofs" not in demo.text()


def test_refuses_a_directory_that_is_not_empty() -> None:
    with place() as directory:
        (directory / "precious").write_text("mine")
        demo = Demo(directory / "home", "--data-dir", str(directory))
        assert demo.process.wait(START_SECONDS) == 2
        assert "is not an empty directory" in demo.text()
        assert sorted(os.listdir(directory)) == ["home.out", "precious"]
