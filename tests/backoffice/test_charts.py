"""Charts: right in size, silent about what is unknown, and safe with any name."""

import re
from xml.etree import ElementTree as ET

import pytest

from pointsystem.backoffice import charts
from pointsystem.backoffice.charts import ChartRefused, Series


def elements(chart: str, tag: str) -> list[dict[str, str]]:
    root = ET.fromstring(f"<div>{chart}</div>")  # noqa: S314  (our own drawing)
    return [element.attrib for element in root.iter(tag)]


def test_bars_stand_on_zero_and_are_as_high_as_their_values() -> None:
    chart = charts.bar(title="Earned", labels=["a", "b", "c"], values=[10, 5, -5])

    first, second, third = elements(chart, "rect")
    heights = [float(bar["height"]) for bar in (first, second, third)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[1] == pytest.approx(heights[2], abs=0.2)
    foot = float(first["y"]) + heights[0]
    assert float(third["y"]) == pytest.approx(foot, abs=0.2), "what is negative hangs below"


def test_what_is_unknown_is_a_gap_and_not_zero() -> None:
    assert len(elements(charts.bar(title="t", labels=["a", "b"], values=[1, None]), "rect")) == 1
    line = charts.line(title="t", labels=list("abcde"), series=[Series(name="x", values=[1, 2, None, 3, 4])])
    assert len([path for path in elements(line, "path") if "line" in path["class"]]) == 2


def test_all_unknown_and_all_zero_and_nothing_are_drawn_without_a_fault() -> None:
    for values in ([], [None, None], [0, 0]):
        labels = [str(place) for place in range(len(values))]
        for chart in (
            charts.bar(title="t", labels=labels, values=values),
            charts.line(title="t", labels=labels, series=[Series(name="x", values=values)]),
            charts.sparkline(title="t", values=values),
        ):
            assert "nan" not in chart.lower()
            assert elements(chart, "svg")


def test_parts_are_stacked_and_named() -> None:
    chart = charts.stacked_bar(
        title="By reason",
        labels=["March"],
        series=[Series(name="Order", values=[30]), Series(name="Event", values=[10])],
    )

    below, above = [rect for rect in elements(chart, "rect") if "x" in rect]
    assert float(above["y"]) + float(above["height"]) == pytest.approx(float(below["y"]), abs=0.2)
    assert float(below["height"]) == pytest.approx(3 * float(above["height"]), abs=0.5)
    assert "March, Order: 30" in chart
    assert 'class="legend' in chart


def test_a_share_bar_fills_its_width_in_proportion() -> None:
    left, right = elements(charts.share_bar(title="Lot", parts=[("left", 75), ("spent", 25)]), "rect")

    assert (float(left["width"]), float(right["width"])) == (480, 160)
    assert elements(charts.share_bar(title="Lot", parts=[("left", 0), ("spent", 0)]), "svg")


@pytest.mark.parametrize("draw", ["line", "bar", "stacked", "spark", "share"])
def test_every_chart_says_in_words_what_it_shows_and_escapes_it(draw: str) -> None:
    title, label = '<script>alert("1")</script>', "<b>&"
    one = [Series(name=label, values=[1, 2]), Series(name="y", values=[1, 2])]
    chart = {
        "line": lambda: charts.line(title=title, labels=[label, "c"], series=one),
        "bar": lambda: charts.bar(title=title, labels=[label, "c"], values=[1, 2]),
        "stacked": lambda: charts.stacked_bar(title=title, labels=[label, "c"], series=one),
        "spark": lambda: charts.sparkline(title=title, values=[1, 2]),
        "share": lambda: charts.share_bar(title=title, parts=[(label, 1)]),
    }[draw]()

    (svg,) = [each for each in elements(chart, "svg") if each.get("role") == "img"]
    assert title in svg["aria-label"]
    assert "<script" not in chart
    assert "<b>" not in chart
    assert not re.search(r"\sstyle=|\son\w+=", chart), "the policy of pages refuses it"


@pytest.mark.parametrize(
    "draw",
    [
        lambda: charts.line(title="t", labels=["a"], series=[]),
        lambda: charts.line(title="t", labels=["a"], series=[Series(name="x", values=[1])] * 7),
        lambda: charts.line(title="t", labels=["a", "b"], series=[Series(name="x", values=[1])]),
        lambda: charts.stacked_bar(title="t", labels=["a"], series=[Series(name="x", values=[-1])]),
        lambda: charts.share_bar(title="t", parts=[("a", -1)]),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw: object) -> None:
    with pytest.raises(ChartRefused):
        draw()  # type: ignore[operator]
