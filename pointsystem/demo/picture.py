"""The points issued, spent and expired by month: an SVG for the browser, bars for the terminal."""

from collections.abc import Mapping
from html import escape
from math import ceil, log10
from typing import Final, TextIO

from pointsystem.demo.progress import bar

SERIES: Final = (("issued", "#2563eb"), ("spent", "#ea580c"), ("expired", "#6b7280"))

_WIDTH: Final = 1080
_HEIGHT: Final = 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 84, 64
_TERMINAL_CELLS: Final = 14
_OPENING: Final = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
    'aria-labelledby="title" font-family="system-ui, sans-serif" font-size="13" fill="#111827">'
)


def svg(months: Mapping[str, Mapping[str, int]], *, title: str, source: str) -> str:
    """Three bars a month, in points. `months` goes by YYYY-MM, in order."""
    most = max((counted.get(name, 0) for counted in months.values() for name, _ in SERIES), default=0)
    step = _nice_step(most)
    top = step * max(1, ceil(most / step))
    parts = [
        _OPENING,
        f'<title id="title">{escape(title)}</title>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="34" font-size="18" font-weight="600">{escape(title)}</text>',
        *_legend(),
        *_grid(top=top, step=step),
        *_bars(months, top=top),
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}" font-size="11" fill="#6b7280">{escape(source)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _nice_step(most: int) -> int:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, for at most six of them."""
    if most <= 6:
        return 1
    power = 10 ** int(log10(most / 6))
    return next(step * int(power) for step in (1, 2, 5, 10, 20) if step * power * 6 >= most)


def _legend() -> list[str]:
    parts = []
    x = _LEFT
    for name, colour in SERIES:
        parts.append(f'<rect x="{x}" y="50" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="61">points {name}</text>')
        x += 130
    return parts


def _y(points: float, *, top: int) -> float:
    return _HEIGHT - _BOTTOM - points / top * (_HEIGHT - _TOP - _BOTTOM)


def _grid(*, top: int, step: int) -> list[str]:
    parts = []
    for points in range(0, top + 1, step):
        y = _y(points, top=top)
        colour = "#9ca3af" if points == 0 else "#e5e7eb"
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="{colour}"/>')
        parts.append(f'<text x="{_LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{points:,}</text>')
    return parts


def _bars(months: Mapping[str, Mapping[str, int]], *, top: int) -> list[str]:
    parts = []
    room = (_WIDTH - _LEFT - _RIGHT) / max(len(months), 1)
    width = room * 0.8 / len(SERIES)
    floor = _HEIGHT - _BOTTOM
    for number, (month, counted) in enumerate(months.items()):
        start = _LEFT + number * room
        for place, (name, colour) in enumerate(SERIES):
            points = counted.get(name, 0)
            if not points:
                continue
            height = max(floor - _y(points, top=top), 0.5)
            x = start + room * 0.1 + place * width
            size = f'width="{width - 1:.1f}" height="{height:.1f}"'
            parts.append(
                f'<rect x="{x:.1f}" y="{floor - height:.1f}" {size} fill="{colour}">'
                f"<title>{month}: {points:,} points {name}</title></rect>"
            )
        middle = f'x="{start + room / 2:.1f}" y="{floor + 20}"'
        parts.append(f'<text {middle} text-anchor="middle" font-size="11">{month}</text>')
    return parts


def bars(months: Mapping[str, Mapping[str, int]], *, out: TextIO) -> list[str]:
    """The same as lines for a terminal, all bars on one scale."""
    names = [name for name, _ in SERIES]
    most = {name: max((counted.get(name, 0) for counted in months.values()), default=0) for name in names}
    scale = max(most.values(), default=0) or 1
    width = 9 + 1 + _TERMINAL_CELLS
    lines = ["month    " + "  ".join(f"{name:>9}".ljust(width) for name in names).rstrip()]
    for month, counted in months.items():
        cells = [
            f"{counted.get(name, 0):>9,} {bar(counted.get(name, 0) / scale, cells=_TERMINAL_CELLS, out=out)}"
            for name in names
        ]
        lines.append(f"{month}  {'  '.join(cells)}".rstrip())
    return lines
