"""That the benchmark compares what it says it compares. How fast anything is, no test asks."""

import http.server
import re
import threading
from collections.abc import Iterator
from xml.etree import ElementTree as ET

import pytest

from bench import compare, load, plots, report, statements
from bench.compare import Measured, Run, Side
from bench.row import against

KNOWN = statements.Known(
    client_id=7, earn_reason_id=1, earn_policy_id=2, spend_reason_id=3, accounts=10, prefix="A"
)


def measured(name: str, *rates: float) -> Measured:
    return Measured(name=name, runs=[Run(rate=rate, p50=1.0, p99=2.0) for rate in rates])


def test_sides_take_turns_and_the_first_round_is_thrown_away():
    calls: list[str] = []

    def side(name: str, rates: list[float]) -> Side:
        def run(seconds: float) -> Run:
            calls.append(name)
            return Run(rate=rates.pop(0))

        return Side(name=name, run=run)

    sides = [side("a", [1000.0, 1.0, 5.0, 3.0]), side("b", [1000.0, 2.0, 6.0, 4.0])]
    found = compare.interleaved(sides, seconds=0.1, rounds=3, tell=lambda _: None)

    assert calls == ["a", "b"] * 4
    assert [found["a"].rate, found["b"].rate] == [3.0, 4.0]


def test_a_ratio_below_the_least_wanted_is_not_met():
    row = against("P1", "POST earn", measured("ours", 59.0), measured("bare", 100.0), least=0.6)

    assert row.ratio == pytest.approx(0.59)
    assert row.met is False
    assert "NOT MET" in report.table([row])


@pytest.mark.parametrize("statement", [statements.earn(), statements.spend(), statements.balance()])
def test_pgbench_runs_the_statement_of_the_product_with_every_parameter_filled(statement):
    script = statements.pgbench_script(statement, KNOWN, reason_id=1)
    body = script.splitlines()[-1]

    assert "%(" not in body
    between = re.split(r"%\(\w+\)s", statement)
    assert all(part in body for part in between)


def test_plots_are_well_formed_and_name_both_sides(tmp_path):
    row = against("P1", "POST <earn>", measured("ours", 59.0, 60.0), measured("bare & quick", 100.0))

    (path,) = plots.write(tmp_path, [row])

    texts = [element.text for element in ET.parse(path).iter() if element.text]  # noqa: S314
    assert {"ours", "bare & quick", "POST <earn>"} <= set(texts)


@pytest.fixture
def counting_server() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    seen: list[tuple[str, str, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, self.headers["Idempotency-Key"], body))
            self.send_response(500 if len(seen) % 10 == 0 else 201)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_own_generator_sends_every_key_once_and_tells_errors_from_answers(counting_server):
    url, seen = counting_server
    requests = load.Requests(
        method="POST",
        path="/accounts/A{account}/earn",
        accounts=5,
        body='{"points":{points}}',
        key_header=True,
    )

    done = load._by_python(url, requests, seconds=0.5, connections=4)

    keys = [key for _, key, _ in seen]
    assert len(keys) == len(set(keys))
    assert done.errors == pytest.approx(len(seen) / 10, abs=2)
    # What was under way at the end got its answer, and nobody waited for it.
    assert len(seen) - 4 <= done.requests + done.errors <= len(seen)
    assert all(re.fullmatch(r"/accounts/A[0-4]/earn", path) for path, _, _ in seen)
