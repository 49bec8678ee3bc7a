"""Small charts as SVG, drawn on the server: no script, no style attributes, readable aloud.

Colours are classes of the stylesheet (`series-1` to `series-6`), so that light and dark follow by themselves.
Unknown values (None) are gaps, and never drawn as 0. Every chart says in words what it shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH: Final = 640
HEIGHT: Final = 200
_LEFT: Final = 56
_RIGHT: Final = 8
_TOP: Final = 10
_BOTTOM: Final = 24
_MOST_LABELS: Final = 8
SERIES: Final = 6

Value = int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A name for the legend, and one value for each label."""

    name: str
    values: Sequence[Value]


class ChartRefused(ValueError):
    """The values cannot be drawn: too many or unlike series, or negative parts."""


def line(*, title: str, labels: Sequence[str], series: Sequence[Series]) -> SafeString:
    """Lines over the same labels. Raises ChartRefused."""
    _check(labels, series)
    low, high = _range([value for each in series for value in each.values])
    xs = _places(len(labels))
    drawn = [
        format_html('<path class="line series-{}" d="{}"/>', number, path)
        for number, each in enumerate(series, start=1)
        for path in _paths(xs, [_y(value, low, high) for value in each.values])
    ]
    body = _axes(labels, xs, low, high) + _join(drawn)
    return _with_legend(_chart(title, body), series if len(series) > 1 else ())


def bar(*, title: str, labels: Sequence[str], values: Sequence[Value]) -> SafeString:
    """One bar for each label, upwards or downwards from zero. Raises ChartRefused."""
    return _bars(title, labels, [Series(name=title, values=values)], legend_shown=False)


def stacked_bar(*, title: str, labels: Sequence[str], series: Sequence[Series]) -> SafeString:
    """For each label the parts of a whole, one above the other. Raises ChartRefused."""
    if any(value is not None and value < 0 for each in series for value in each.values):
        raise ChartRefused("Parts of a whole cannot be negative.")
    return _bars(title, labels, series, legend_shown=True)


def sparkline(*, title: str, values: Sequence[Value]) -> SafeString:
    """The course of one figure, without axes, to stand beside it."""
    low, high = _range(values)
    width, height = 120, 28
    step = (width - 4) / max(1, len(values) - 1)
    ys = [
        None if value is None else 2 + (height - 4) * (1 - (value - low) / (high - low)) for value in values
    ]
    xs = [2 + step * place for place in range(len(values))]
    drawn = [format_html('<path class="line series-1" d="{}"/>', path) for path in _paths(xs, ys)]
    return _chart(title, _join(drawn), width=width, height=height, kind="chart sparkline")


def share_bar(*, title: str, parts: Sequence[tuple[str, int]]) -> SafeString:
    """One bar cut into its parts, named by a legend: what is left of a lot. Raises ChartRefused."""
    if len(parts) > SERIES or any(points < 0 for _name, points in parts):
        raise ChartRefused(f"At most {SERIES} parts, and none negative.")
    whole = sum(points for _name, points in parts)
    drawn, x = [], 0.0
    for number, (_name, points) in enumerate(parts, start=1):
        width = WIDTH * points / whole if whole else 0.0
        drawn.append(
            format_html(
                '<rect class="fill-{}" x="{}" y="0" width="{}" height="14"/>',
                number,
                _short(x),
                _short(width),
            )
        )
        x += width
    words = ", ".join(f"{name} {points:,}" for name, points in parts)
    return _chart(f"{title}: {words}", _join(drawn), height=14)


def legend(names: Sequence[str]) -> SafeString:
    """The names of series in their colours."""
    rows = format_html_join(
        "",
        '<li><svg viewBox="0 0 12 12" aria-hidden="true">'
        '<rect class="fill-{}" width="12" height="12"/></svg>{}</li>',
        ((number, name) for number, name in enumerate(names, start=1)),
    )
    return format_html('<ul class="legend chart-legend">{}</ul>', rows)


def _with_legend(chart: SafeString, series: Sequence[Series]) -> SafeString:
    return _join([chart, legend([each.name for each in series])]) if series else chart


def _bars(title: str, labels: Sequence[str], series: Sequence[Series], *, legend_shown: bool) -> SafeString:
    _check(labels, series)
    sums = [sum(each.values[place] or 0 for each in series) for place in range(len(labels))]
    low, high = _range([0, *sums])
    slot = (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    width = max(1.0, slot * 0.7)
    xs = [_LEFT + slot * (place + 0.5) for place in range(len(labels))]
    drawn = []
    for place, x in enumerate(xs):
        base: float = 0
        for number, each in enumerate(series, start=1):
            value = each.values[place]
            if value is None:
                continue
            top, bottom = (
                _height(max(base, base + value), low, high),
                _height(min(base, base + value), low, high),
            )
            drawn.append(
                format_html(
                    '<rect class="fill-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                    number,
                    _short(x - width / 2),
                    _short(top),
                    _short(width),
                    _short(bottom - top),
                    f"{labels[place]}, {each.name}: {value:,}"
                    if len(series) > 1
                    else f"{labels[place]}: {value:,}",
                )
            )
            base += value
    body = _axes(labels, xs, low, high) + _join(drawn)
    return _with_legend(_chart(title, body), series if legend_shown else ())


def _check(labels: Sequence[str], series: Sequence[Series]) -> None:
    if not 1 <= len(series) <= SERIES:
        raise ChartRefused(f"1 to {SERIES} series can be told apart.")
    if any(len(each.values) != len(labels) for each in series):
        raise ChartRefused("Each series has one value for each label.")


def _range(values: Sequence[Value]) -> tuple[float, float]:
    """From the lowest to the highest, zero among them, and never of no height."""
    known = [value for value in values if value is not None]
    low, high = min([0, *known]), max([0, *known])
    return (low, high) if high > low else (low, low + 1)


def _places(count: int) -> list[float]:
    step = (WIDTH - _LEFT - _RIGHT) / max(1, count - 1)
    return [_LEFT + step * place for place in range(count)]


def _height(value: float, low: float, high: float) -> float:
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))


def _y(value: Value, low: float, high: float) -> float | None:
    return None if value is None else _height(value, low, high)


def _paths(xs: Sequence[float], ys: Sequence[float | None]) -> list[str]:
    """One path for each stretch without a gap; a value that stands alone becomes a dot."""
    paths, current = [], ""
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            paths.append(current)
            current = ""
        else:
            current += f"{'L' if current else 'M'}{_short(x)} {_short(y)}"
    paths.append(current)
    return [path if "L" in path else f"{path}h0.01" for path in paths if path]


def _axes(labels: Sequence[str], xs: Sequence[float], low: float, high: float) -> SafeString:
    zero = _short(_height(0, low, high))
    every = max(1, -(-len(labels) // _MOST_LABELS))
    shown = [
        (x, label) for place, (x, label) in enumerate(zip(xs, labels, strict=True)) if place % every == 0
    ]
    marks = {high, 0, low}
    return _join(
        [
            format_html('<path class="axis" d="M{} {}H{}"/>', _LEFT, zero, WIDTH - _RIGHT),
            *(
                format_html(
                    '<text x="{}" y="{}" text-anchor="end">{}</text>',
                    _LEFT - 6,
                    _short(_height(mark, low, high) + 4),
                    _compact(mark),
                )
                for mark in sorted(marks)
            ),
            *(
                format_html(
                    '<text x="{}" y="{}" text-anchor="{}">{}</text>',
                    _short(x),
                    HEIGHT - 6,
                    # A label at the edge would be cut in the middle.
                    "end" if x > WIDTH - _RIGHT - 20 else "middle",
                    label,
                )
                for x, label in shown
            ),
        ]
    )


def _chart(
    title: str, body: SafeString, *, width: int = WIDTH, height: int = HEIGHT, kind: str = "chart"
) -> SafeString:
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>',
        kind,
        width,
        height,
        title,
        title,
        body,
    )


def _join(parts: Sequence[SafeString]) -> SafeString:
    return mark_safe("".join(parts))  # noqa: S308  (each part was escaped when it was made)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _compact(number: float) -> str:
    """1,250,000 as 1.25M: what fits beside an axis."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
