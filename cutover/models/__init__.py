"""The tables of the cutover: who decides, and what was given to the legacy."""

from cutover.models.intents import Intent, IntentState
from cutover.models.routes import DEFAULT_COHORT, Route, Stage

__all__ = ["DEFAULT_COHORT", "Intent", "IntentState", "Route", "Stage"]
