"""The parts of the report that can be told without a run."""

import io
import xml.etree.ElementTree as ET

from pointsystem.demo import picture, report
from pointsystem.demo.cutover_proofs import Pause
from pointsystem.demo.expected import Expected
from pointsystem.demo.progress import Progress, bar
from pointsystem.demo.proofs import Proof, Served, Statement
from pointsystem.demo.report import Run
from pointsystem.demo.report_figures import percentile
from pointsystem.demo.traffic import Measurements, Sent

ENTRY = {
    "kind": "earn",
    "points": 250,
    "operation_id": "o",
    "reference": "order-1",
    "recorded_at": "1997-01-31T15:00:00+00:00",
}


def output(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def run_with(*verdicts: bool | None) -> Run:
    served = Served({"M-1": Statement(account_number="M-1", available=250, history=[ENTRY])}, {"o"})
    return Run(
        orders=1,
        callers=1,
        seconds=2.0,
        requests=10,
        measured=Measurements(
            seconds={"earn": [0.001, 0.002]},
            sent=[
                Sent(name="earn", began=1.0, seconds=0.25),
                Sent(name="spend", began=1.0, seconds=5.0, met_freeze=True),
            ],
        ),
        expected=Expected(),
        served=served,
        pauses=[Pause(name="to NEW_FIRST", requests=7, p99_seconds=0.031, worst_seconds=0.042)],
        lags={"to_ledger": [0.1, 0.3]},
        cancelled={("procedures", "NEW_ONLY"): 3, ("NEW_ONLY", "finished"): 0},
        proofs=[Proof(sentence="s", holds=holds, figures="f") for holds in verdicts],
    )


def test_what_is_unknown_is_no_success() -> None:
    assert run_with(True, True).has_succeeded
    assert not run_with(True, None).has_succeeded
    assert not run_with(True, False).has_succeeded
    assert report.verdict(run_with(False, None)) == "NOT PROVED: 1 broken, 1 unknown."


def test_what_no_call_of_the_api_made_is_counted_by_its_own_words() -> None:
    statement = Statement(account_number="M-1", available=250, history=[ENTRY])
    assert Served({"M-1": statement}, {"o"}).effects == {("M-1", "o"): 250}
    assert Served({"M-1": statement}, set()).effects == {("M-1", "direct:earn:order-1"): 250}


def test_switches_and_lags_are_told_in_the_units_of_their_columns() -> None:
    text = "\n".join(report.lines(run_with(True), out=output("utf-8")))
    assert f"  {'to NEW_FIRST':<30}{7:>9}{31:>10}{42:>10}" in text
    assert f"  {'all of the time':<30}{1:>9}{250:>10}{250:>10}" in text
    assert f"  {'spends, till the freeze ended':<30}{1:>9}{5000:>10}{5000:>10}" in text
    assert "to the ledger: 2 operations, p50 0.10 s, p99 0.30 s, worst 0.30 s" in text
    assert f"procedures     given back in {'NEW_ONLY':<14}{3:>4}" in text
    assert "given back in finished" not in text


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
