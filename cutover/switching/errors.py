"""Why an act on a route was refused: one type for each fact, each with a stable code."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from cutover.switching.checks import Check


class SwitchRefused(Exception):
    """Nothing was changed. The message is a sentence for the operator; the journal keeps it."""

    code: ClassVar[str] = "switch_refused"

    @property
    def details(self) -> dict[str, Any]:
        return {"code": self.code, "why": str(self)}


class UnknownCohort(SwitchRefused):
    """There is no route of that name."""

    code = "unknown_cohort"


class NoSuchStep(SwitchRefused):
    """The route is where it is asked to go, or there is no stage in that direction."""

    code = "no_such_step"


class AlreadyFinished(SwitchRefused):
    """The cutover of the cohort was finished: nothing of it can be changed any more."""

    code = "already_finished"


class IllegalMove(SwitchRefused):
    """The database refused the move, by a rule that it names."""

    code = "illegal_move"


class RouteChanged(SwitchRefused):
    """Another act on the route was first."""

    code = "route_changed"


class ChecksAreRed(SwitchRefused):
    """Some checks are red and were not overridden, or cannot be."""

    code = "checks_are_red"

    def __init__(self, red: "Sequence[Check]") -> None:
        super().__init__(
            "Not ready: " + " ".join(f"{check.name}: {check.sentence}" for check in red)
            if red
            else "Not ready."
        )
        self.red = list(red)

    @property
    def details(self) -> dict[str, Any]:
        return {**super().details, "red": [check.name for check in self.red]}


class ReasonMissing(SwitchRefused):
    """Checks are overridden, and nobody says why."""

    code = "reason_missing"


class SecondPersonMissing(SwitchRefused):
    """Another person's approval of this very plan is needed, and there is none."""

    code = "second_person_missing"


class PlanChanged(SwitchRefused):
    """What is to be approved is not what would be done now."""

    code = "plan_changed"


class NotDrained(SwitchRefused):
    """Those who act on the route did not end in time: the switch gave up, and everybody goes on."""

    code = "not_drained"


class NoticeEnded(SwitchRefused):
    """The switch was held up for so long that processes may read by the old route again."""

    code = "notice_ended"


class FreezeEnded(SwitchRefused):
    """The act began under a freeze, which ended before the act could take place."""

    code = "freeze_ended"


class NotFrozen(SwitchRefused):
    """There is no freeze to end."""

    code = "not_frozen"


class BadFreeze(SwitchRefused):
    """A freeze of so many minutes is not possible."""

    code = "bad_freeze"


class TailNotFollowed(SwitchRefused):
    """The newest rows of the legacy could not be read: somebody's points could be missing."""

    code = "tail_not_followed"


class BadAssignment(SwitchRefused):
    """The accounts cannot be assigned so."""

    code = "bad_assignment"


class AnotherAssignment(BadAssignment):
    """One assignment at a time: another is not done yet."""
