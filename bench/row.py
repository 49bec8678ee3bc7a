"""One line of the table: what was measured on both sides, and what was wanted."""

from dataclasses import dataclass, field
from typing import Any

from bench.compare import Measured


@dataclass(frozen=True, kw_only=True)
class Row:
    """`met` is None where there is no target, or no other side on this machine: `note` says why then."""

    figure: str
    what: str
    ours: str
    other: str
    ratio: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    #: Everything that was measured, for the JSON file.
    details: dict[str, Any] = field(default_factory=dict)


def against(
    figure: str,
    what: str,
    ours: Measured,
    other: Measured,
    *,
    least: float | None = None,
    unit: str = "/s",
    note: str = "",
) -> Row:
    """A row of two rates; `least` is the least ratio wanted."""
    ratio = ours.rate / other.rate if other.rate else None
    return Row(
        figure=figure,
        what=what,
        ours=_shown(ours, unit),
        other=f"{other.name}: {_shown(other, unit)}",
        ratio=ratio,
        target=f">= {least:g}" if least is not None else "",
        met=None if least is None or ratio is None else ratio >= least,
        note=note or _processor_note(ours, other),
        details={"sides": [ours.as_json(), other.as_json()]},
    )


def missing(figure: str, what: str, *, other: str, target: str, note: str) -> Row:
    """A row that could not be measured here."""
    return Row(figure=figure, what=what, ours="-", other=other, target=target, note=note)


def _shown(side: Measured, unit: str) -> str:
    text = f"{side.rate:,.0f}{unit}"
    p50, p99 = side.median("p50"), side.median("p99")
    if p50 is not None and p99 is not None:
        text += f" (p50 {p50:.1f} ms, p99 {p99:.1f} ms)"
    return text


def _processor_note(ours: Measured, other: Measured) -> str:
    """Processor time a request: on a machine with other work it is steadier than the rate."""
    parts = []
    totals = []
    for side in (ours, other):
        server, database = side.median("server_processor"), side.median("database_processor")
        if server is None or database is None:
            return ""
        parts.append(f"{server:.0f} + {database:.0f}")
        totals.append(server + database)
    return (
        f"CPU us/request, server + database: {parts[0]} against {parts[1]}; ratio {totals[1] / totals[0]:.2f}"
    )
