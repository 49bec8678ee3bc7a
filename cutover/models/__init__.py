"""The tables of the cutover: who decides, what was given to the legacy, what is on its way to the side that
follows, what differed, and who else calls the legacy."""

from cutover.models.callers import CallerDay, CallerOrigin, CallerScan, UndecidedRow
from cutover.models.comparing import Difference, FoundBy, Mismatch, Reconstruction, Run, RunKind, ShadowCount
from cutover.models.intents import Intent, IntentState
from cutover.models.messages import (
    Direction,
    Failure,
    FollowedAccount,
    LotAlias,
    MessageState,
    MirrorMessage,
    Tail,
)
from cutover.models.ordering import OPEN_ORDERS, AssignmentOrder, OrderState
from cutover.models.routes import DEFAULT_COHORT, Approval, JournalEntry, Member, Route, Stage

#: Rows of these are never changed or deleted (`pointsystem.privileges`).
INSERT_ONLY_TABLES = ("cutover_journal",)

__all__ = [
    "DEFAULT_COHORT",
    "INSERT_ONLY_TABLES",
    "OPEN_ORDERS",
    "Approval",
    "AssignmentOrder",
    "CallerDay",
    "CallerOrigin",
    "CallerScan",
    "Difference",
    "Direction",
    "Failure",
    "FollowedAccount",
    "FoundBy",
    "Intent",
    "IntentState",
    "JournalEntry",
    "LotAlias",
    "Member",
    "MessageState",
    "MirrorMessage",
    "Mismatch",
    "OrderState",
    "Reconstruction",
    "Route",
    "Run",
    "RunKind",
    "ShadowCount",
    "Stage",
    "Tail",
    "UndecidedRow",
]
