"""The tables of the cutover: who decides, what was given to the legacy, and who else calls it."""

from cutover.models.callers import CallerDay, CallerOrigin, CallerScan, UndecidedRow
from cutover.models.intents import Intent, IntentState
from cutover.models.routes import DEFAULT_COHORT, Route, Stage

__all__ = [
    "DEFAULT_COHORT",
    "CallerDay",
    "CallerOrigin",
    "CallerScan",
    "Intent",
    "IntentState",
    "Route",
    "Stage",
    "UndecidedRow",
]
