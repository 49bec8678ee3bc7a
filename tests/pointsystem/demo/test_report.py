"""The parts of the report that can be told without a run."""

import io
import xml.etree.ElementTree as ET

from pointsystem.demo import picture, report
from pointsystem.demo.expected import Expected
from pointsystem.demo.progress import Progress, bar
from pointsystem.demo.proofs import Proof, Served, Statement
from pointsystem.demo.report import Run, percentile
from pointsystem.demo.traffic import Measurements

ENTRY = {"kind": "earn", "points": 250, "operation_id": "o", "recorded_at": "1997-01-31T15:00:00+00:00"}


def output(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def run_with(*verdicts: bool | None) -> Run:
    served = Served({"M-1": Statement(account_number="M-1", available=250, history=[ENTRY])})
    return Run(
        orders=1,
        callers=1,
        seconds=2.0,
        requests=10,
        measured=Measurements(seconds={"earn": [0.001, 0.002]}),
        expected=Expected(),
        served=served,
        proofs=[Proof(sentence="s", holds=holds, figures="f") for holds in verdicts],
    )


def test_what_is_unknown_is_no_success() -> None:
    assert run_with(True, True).has_succeeded
    assert not run_with(True, None).has_succeeded
    assert not run_with(True, False).has_succeeded
    assert report.verdict(run_with(False, None)) == "NOT PROVED: 1 broken, 1 unknown."


def test_an_instant_counts_to_the_month_of_the_programme() -> None:
    # 15:00 UTC is midnight in Seoul.
    assert dict(report.months_of(run_with().served)) == {"1997-02": {"issued": 250}}


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    text = "\n".join(report.lines(run_with(True), out=output("ascii")))
    assert text.isascii()
    assert "1997-02        250 ##############" in text


def test_something_is_never_drawn_as_nothing() -> None:
    assert bar(0.0001, cells=10, out=output("utf-8")).strip() == "▏"
    assert bar(0.0001, cells=10, out=output("ascii")).strip() == "#"
    assert bar(0.0, cells=10, out=output("utf-8")).strip() == ""


def test_the_picture_is_well_formed_and_names_every_figure() -> None:
    months = {"1997-01": {"issued": 1000, "spent": 10}, "1997-02": {"expired": 990}}
    drawn = ET.fromstring(picture.svg(months, title="A & B", source="<here>"))  # noqa: S314
    titles = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == [
        "A & B",
        "1997-01: 1,000 points issued",
        "1997-01: 10 points spent",
        "1997-02: 990 points expired",
    ]


def test_an_empty_picture_can_be_drawn() -> None:
    ET.fromstring(picture.svg({}, title="t", source="s"))  # noqa: S314


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    progress = Progress(total=4, out=out)
    for done, label in ((1, "1997-01"), (2, "1997-01"), (3, "1997-02")):
        progress.advance(done=done, label=label, text=f"{done} of 4")
    progress.end("done")
    assert out.getvalue() == "  1997-01   25%  1 of 4\n  1997-02   75%  3 of 4\n  done\n"
