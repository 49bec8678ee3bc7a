"""Bars as SVG, written by hand: one file a figure, one bar a side and run, in colours that print well."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.row import Row

_WIDTH, _LABELS, _BAR, _GAP, _TOP = 760, 250, 20, 12, 46
_COLOURS = ("#1f6f8b", "#e07a5f", "#8d99ae", "#81b29a")


def write(directory: Path, rows: Sequence[Row]) -> list[Path]:
    """A file for every figure whose sides have rates; the files written."""
    written = []
    for figure in dict.fromkeys(row.figure for row in rows):
        groups = [row for row in rows if row.figure == figure and row.details.get("sides")]
        if groups:
            path = directory / f"{figure}.svg"
            path.write_text(_drawn(figure, groups))
            written.append(path)
    return written


def _drawn(figure: str, rows: Sequence[Row]) -> str:
    sides = [(row, side) for row in rows for side in row.details["sides"]]
    # The figures about long histories are about time, not about rates.
    measure = "p50_milliseconds" if figure == "P6" else "rate"
    unit = "ms" if figure == "P6" else "/s"
    largest = max((_value(side, measure) for _, side in sides), default=1.0) or 1.0
    scale = (_WIDTH - _LABELS - 110) / largest
    parts: list[str] = []
    y = _TOP
    previous: Row | None = None
    for number, (row, side) in enumerate(sides):
        if row is not previous:
            y += 16
            parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(row.what)}</text>')
            y += 8
            previous = row
        value = _value(side, measure)
        colour = _COLOURS[(number - sides.index((row, row.details["sides"][0]))) % len(_COLOURS)]
        parts.append(f'<text x="8" y="{y + 15}">{escape(side["name"])}</text>')
        parts.append(
            f'<rect x="{_LABELS}" y="{y}" width="{max(value * scale, 1):.1f}" '
            f'height="{_BAR}" fill="{colour}"/>'
        )
        shown = f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
        parts.append(f'<text x="{_LABELS + value * scale + 6:.1f}" y="{y + 15}">{shown} {unit}</text>')
        parts.extend(_dots(side, scale, y) if measure == "rate" else ())
        y += _BAR + _GAP
    title = f"{figure}: medians, and a dot for each run" if measure == "rate" else f"{figure}: median time"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 10}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="24" font-size="15">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def _value(side: dict[str, Any], measure: str) -> float:
    return float(side.get(measure) or 0.0)


def _dots(side: dict[str, Any], scale: float, y: int) -> list[str]:
    return [
        f'<circle cx="{_LABELS + rate * scale:.1f}" cy="{y + _BAR / 2}" r="2.5" fill="#222"/>'
        for rate in side["rates"]
    ]
