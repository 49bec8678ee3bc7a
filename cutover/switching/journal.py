"""The journal of the cutover: every act of an operator, refused ones too. It is only ever added to."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from time import monotonic
from typing import Any, Final

import msgspec

from cutover.models import JournalEntry, Stage
from cutover.switching.errors import SwitchRefused
from ledger.database import fetch_all

_WRITE: Final = """
INSERT INTO cutover_journal (
    cohort, action, from_stage, to_stage, epoch, actor, approver, reason, checks, result, details,
    duration_ms, at
) VALUES (
    %(cohort)s, %(action)s, %(from_stage)s, %(to_stage)s, %(epoch)s, %(actor)s, %(approver)s, %(reason)s,
    %(checks)s::jsonb, %(result)s, %(details)s::jsonb, %(duration_ms)s, clock_timestamp()
)
"""

DONE: Final = "done"
REFUSED: Final = "refused"

#: The columns of the export, in order.
COLUMNS: Final = (
    "id",
    "at",
    "cohort",
    "action",
    "from_stage",
    "to_stage",
    "epoch",
    "actor",
    "approver",
    "reason",
    "result",
    "duration_ms",
    "checks",
    "details",
)
#: What a spreadsheet would take for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(slots=True, kw_only=True)
class Act:
    """What somebody is about to do. Filled in as it goes, so that the journal says how far it came."""

    action: str
    cohort: str
    actor: str
    reason: str
    from_stage: str = ""
    to_stage: str = ""
    epoch: int = 0
    approver: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    began_at: float = field(default_factory=monotonic)

    @property
    def duration_ms(self) -> int:
        return round((monotonic() - self.began_at) * 1000)


def write(act: Act, *, result: str) -> None:
    """Add an entry, in the transaction that is open."""
    fetch_all(
        _WRITE,
        {
            "cohort": act.cohort[:64],
            "action": act.action,
            "from_stage": act.from_stage,
            "to_stage": act.to_stage,
            "epoch": act.epoch,
            "actor": act.actor[:150],
            "approver": act.approver[:150],
            "reason": act.reason[:500],
            "checks": msgspec.json.encode(act.checks).decode(),
            "result": result,
            "details": msgspec.json.encode(act.details).decode(),
            "duration_ms": act.duration_ms,
        },
    )


@contextmanager
def refusals_kept(act: Act) -> Iterator[None]:
    """Write down what was refused within the block, and let the refusal go on."""
    try:
        yield
    except SwitchRefused as refused:
        act.details.update(refused.details)
        write(act, result=REFUSED)
        raise


def entries(*, cohort: str | None = None, limit: int | None = 50) -> list[JournalEntry]:
    """The last acts, the newest first; of all cohorts, or of one."""
    found = JournalEntry.objects.order_by("-id")
    if cohort is not None:
        found = found.filter(cohort=cohort)
    return list(found if limit is None else found[:limit])


def winner_of(*, cohort: str, since_epoch: int) -> str:
    """Who changed the route after `since_epoch`, in words."""
    entry = (
        JournalEntry.objects.filter(cohort=cohort, result=DONE, epoch__gt=since_epoch).order_by("id").first()
    )
    if entry is None:
        return "It was changed by an act that is not in the journal."
    if entry.to_stage != entry.from_stage:
        stage = Stage(entry.to_stage).value
        return f"{entry.actor} was first: {entry.action} to {stage}, now epoch {entry.epoch}."
    return f"{entry.actor} was first: {entry.action}, now epoch {entry.epoch}."


def as_record(entry: JournalEntry) -> dict[str, Any]:
    """An entry as JSON carries it."""
    return {name: entry.at.isoformat() if name == "at" else getattr(entry, name) for name in COLUMNS}


def as_csv(found: Sequence[JournalEntry]) -> str:
    """The entries as a table. Texts that people typed are kept from being taken for formulas."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for entry in found:
        record = as_record(entry)
        for name in ("checks", "details"):
            record[name] = msgspec.json.encode(record[name]).decode()
        writer.writerow([_cell(record[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
