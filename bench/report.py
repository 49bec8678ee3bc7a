"""The table, on the terminal and in Markdown; and everything that was measured, as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.row import Row

_HEADINGS = ("figure", "what", "ours", "other side", "ratio", "target", "")


def _cells(row: Row) -> tuple[str, ...]:
    met = "" if row.met is None else "met" if row.met else "NOT MET"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return (row.figure, row.what, row.ours, row.other, ratio, row.target, met)


def table(rows: Sequence[Row]) -> str:
    """Plain text, columns aligned, notes below their row."""
    cells = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    lines = []
    for number, line in enumerate(cells):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number and rows[number - 1].note:
            lines.append(f"{' ' * (widths[0] + 2)}{rows[number - 1].note}")
    return "\n".join(lines)


def markdown(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    lines = [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", "| " + " | ".join([*_HEADINGS[:-1], "met", "note"]) + " |", "|" + "---|" * 8]
    for row in rows:
        lines.append("| " + " | ".join([*_cells(row), row.note]) + " |")
    return "\n".join(lines) + "\n"


def write_json(path: Path, rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    measured = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(measured, indent=1, default=str) + "\n")
