"""Switching: who decides is changed here and nowhere else (docs/concepts/stages.md)."""

from cutover.switching.assigning import Assigned, assign
from cutover.switching.checks import FINISH, Check, preflight
from cutover.switching.choosing import Choice, Counted
from cutover.switching.errors import SwitchRefused
from cutover.switching.journal import as_csv, as_record, entries
from cutover.switching.moves import (
    FREEZE_MINUTES,
    LONGEST_FREEZE_MINUTES,
    Done,
    advance,
    capture,
    finish,
    freeze,
    rollback,
    thaw,
)
from cutover.switching.plans import (
    Plan,
    approvals_for,
    approve,
    next_stage,
    plan,
    previous_stage,
    usual_action,
)
from cutover.switching.status import Backlog, Status, as_json, status

__all__ = [
    "FINISH",
    "FREEZE_MINUTES",
    "LONGEST_FREEZE_MINUTES",
    "Assigned",
    "Backlog",
    "Check",
    "Choice",
    "Counted",
    "Done",
    "Plan",
    "Status",
    "SwitchRefused",
    "advance",
    "approvals_for",
    "approve",
    "as_csv",
    "as_json",
    "as_record",
    "assign",
    "capture",
    "entries",
    "finish",
    "freeze",
    "next_stage",
    "plan",
    "preflight",
    "previous_stage",
    "rollback",
    "status",
    "thaw",
    "usual_action",
]
