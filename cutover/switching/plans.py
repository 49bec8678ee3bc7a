"""What an act would do, and a second person's yes to it.

A plan is what is asked for, at which epoch, with the checks that are red then. Its digest names it. An
approval is good for that plan alone: once the route has another epoch, or one more check is red, it is not.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from django.db import IntegrityError

from cutover.models import Approval, Stage
from cutover.routes import CurrentRoute
from cutover.switching import status as figures
from cutover.switching.checks import FINISH, Check, preflight, red
from cutover.switching.errors import NoSuchStep, PlanChanged, SecondPersonMissing
from cutover.switching.moving import route_of
from ledger.database import commit_each, fetch_all, violated_constraint

_STAGES: Final = tuple(Stage)
ADVANCE: Final = "advance"
ROLLBACK: Final = "rollback"
FINISHING: Final = "finish"
#: What can be planned, and approved.
ACTIONS: Final = (ADVANCE, ROLLBACK, FINISHING)

_APPROVE: Final = """
INSERT INTO cutover_approval (cohort, action, digest, plan, approved_by, approved_at)
VALUES (%(cohort)s, %(action)s, %(digest)s, %(plan)s::jsonb, %(approved_by)s, clock_timestamp())
"""
_USE: Final = """
UPDATE cutover_approval SET used_at = clock_timestamp() WHERE id = %s AND used_at IS NULL RETURNING id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    action: str
    cohort: str
    from_stage: str
    to_stage: str
    epoch: int
    #: Of an assignment: where to, and which accounts.
    parameters: dict[str, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    #: What will happen, in order, in words.
    steps: list[str] = field(default_factory=list)
    rollback_loss: int | None = None

    @property
    def red(self) -> list[str]:
        return sorted(check.name for check in red(self.checks))

    @property
    def bound(self) -> dict[str, Any]:
        """What an approval is bound to."""
        return {
            "action": self.action,
            "cohort": self.cohort,
            "from_stage": self.from_stage,
            "to_stage": self.to_stage,
            "epoch": self.epoch,
            "parameters": self.parameters,
        }

    @property
    def digest(self) -> str:
        text = msgspec.json.encode({**self.bound, "red": self.red}, order="sorted")
        return hashlib.sha256(text).hexdigest()

    def as_record(self) -> dict[str, Any]:
        return {
            **self.bound,
            "digest": self.digest,
            "red": self.red,
            "steps": self.steps,
            "rollback_loss": self.rollback_loss,
            "checks": [check.as_record() for check in self.checks],
        }


def next_stage(stage: Stage) -> Stage:
    """Raises NoSuchStep."""
    place = _STAGES.index(stage) + 1
    if place == len(_STAGES):
        raise NoSuchStep(f"{stage.value} is the last stage; what comes after it is `finish`.")
    return _STAGES[place]


def previous_stage(stage: Stage) -> Stage:
    """Raises NoSuchStep."""
    place = _STAGES.index(stage) - 1
    if place < 0:
        raise NoSuchStep(f"{stage.value} is the first stage: there is nothing to go back to.")
    return _STAGES[place]


def usual_action(route: CurrentRoute) -> str:
    """What comes next where nobody says it."""
    return FINISHING if route.stage is Stage.NEW_ONLY else ADVANCE


def plan(*, cohort: str, action: str | None = None) -> Plan:
    """What would happen now; nothing is changed. Raises UnknownCohort and NoSuchStep."""
    route = route_of(cohort)
    return plan_of(route, action or usual_action(route))


def plan_of(route: CurrentRoute, action: str) -> Plan:
    """The plan from a route that was read. Raises NoSuchStep."""
    if route.is_finished:
        raise NoSuchStep("The cutover is finished: there is nothing left to do.")
    target: Stage
    if action == FINISHING:
        if route.stage is not Stage.NEW_ONLY:
            raise NoSuchStep(f"Only {Stage.NEW_ONLY.value} can be finished; this is {route.stage.value}.")
        target, checks = route.stage, preflight(route, FINISH)
    elif action == ROLLBACK:
        target, checks = previous_stage(route.stage), []
    else:
        target = next_stage(route.stage)
        checks = preflight(route, target)
    return Plan(
        action=action,
        cohort=route.cohort,
        from_stage=route.stage.value,
        to_stage=target.value,
        epoch=route.epoch,
        checks=checks,
        steps=_steps(route, action, target),
        rollback_loss=figures.rollback_loss(route),
    )


def _steps(route: CurrentRoute, action: str, target: Stage) -> list[str]:
    if action == FINISHING:
        return [
            "The ledger stands alone from then on: nothing is recorded for the legacy any more.",
            "Gifts, adjustments and every policy of the ledger become available.",
            "There is no way back.",
        ]
    steps = []
    is_new_decider = _ledger_decides(route.stage) != _ledger_decides(target)
    if is_new_decider:
        steps.append("The legacy's newest rows are read, so that what came past the API is known.")
    steps.append("Notice is given: for a moment nobody reads by a route that was read before.")
    steps.append(
        f"Operations under way end, and {target.value} begins as epoch {route.epoch + 1}; if they do not end"
        " in time, nothing is changed."
    )
    if is_new_decider:
        count = figures.backlog(route).count
        steps.append(
            "Accounts of which the old decider still owes something are held until it is settled"
            f" ({count:,} messages wait now); all others go on at once."
        )
        steps.append("The legacy's newest rows are read once more.")
    if route.stage is Stage.NEW_ONLY:
        steps.append("What was recorded for the legacy meanwhile is delivered, in order.")
    return steps


def _ledger_decides(stage: Stage) -> bool:
    return stage in (Stage.NEW_FIRST, Stage.NEW_ONLY)


def changes_decider(before: Stage, after: Stage) -> bool:
    return _ledger_decides(before) != _ledger_decides(after)


# --- the second person --------------------------------------------------------------------------------
def approve(*, cohort: str, action: str | None, digest: str, actor: str) -> Plan:
    """Say yes to the plan of this digest, if it is still what would be done.

    Raises PlanChanged, UnknownCohort, NoSuchStep.
    """
    return approve_plan(plan(cohort=cohort, action=action), digest=digest, actor=actor)


def approve_plan(found: Plan, *, digest: str, actor: str) -> Plan:
    """The same of a plan that was just made. Saying it twice changes nothing. Raises PlanChanged."""
    if found.digest != digest:
        raise PlanChanged(
            f"The plan has changed: its digest is {found.digest[:12]} now. Look at it again first."
        )
    parameters = {
        "cohort": found.cohort,
        "action": found.action,
        "digest": digest,
        "plan": msgspec.json.encode(found.as_record()).decode(),
        "approved_by": actor,
    }
    try:
        commit_each([(_APPROVE, parameters)])
    except IntegrityError as error:
        if violated_constraint(error) != "approval_once_per_plan_and_person":
            raise
    return found


def approvals_for(found: Plan) -> list[Approval]:
    """Those that are good for this plan: the same act at the same epoch, and no check red that was green."""
    waiting = Approval.objects.filter(
        cohort=found.cohort, action=found.action, used_at__isnull=True
    ).order_by("id")
    return [approval for approval in waiting if _is_good(approval.plan, found)]


def _is_good(approved: Mapping[str, Any], found: Plan) -> bool:
    is_same = all(approved.get(name) == value for name, value in found.bound.items())
    return is_same and set(found.red) <= set(_texts(approved.get("red")))


def _texts(value: Any) -> Iterable[str]:
    return value if isinstance(value, list) else []


def approval_of_another(found: Plan, *, actor: str) -> Approval:
    """An approval of this plan by somebody else than `actor`. Raises SecondPersonMissing."""
    for approval in approvals_for(found):
        if approval.approved_by != actor:
            return approval
    raise SecondPersonMissing(
        f"Another person must approve this plan ({found.digest[:12]}) before {actor} carries it out."
    )


def use(approval: Approval) -> None:
    """Spend an approval, in the transaction of the act. Raises SecondPersonMissing when it is spent."""
    if not fetch_all(_USE, [approval.id]):
        raise SecondPersonMissing("The approval was used by another act.")
