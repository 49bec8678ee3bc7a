"""What an operator can do to a route; each act is one change (`moving.change`), journaled also when refused.

Every function takes `actor` and `reason`, and `expected_epoch`: the epoch that the actor saw. When another
was first, the act is refused and names them. All raise UnknownCohort, AlreadyFinished, RouteChanged,
NotDrained, NoticeEnded, FreezeEnded, IllegalMove and DatabaseError; a refusal has changed nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from cutover.models import Approval
from cutover.routes import CurrentRoute
from cutover.switching import following, moving, plans
from cutover.switching import status as figures
from cutover.switching.checks import Check, red
from cutover.switching.errors import BadFreeze, ChecksAreRed, NoSuchStep, NotFrozen, ReasonMissing
from cutover.switching.journal import Act, refusals_kept
from cutover.switching.moving import Change

FREEZE_MINUTES: Final = 30.0
LONGEST_FREEZE_MINUTES: Final = 240.0
#: So long capture and freeze wait for what was given to the legacy before.
SETTLED_WITHIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an act came to: the route after it, and what the operator should know."""

    route: CurrentRoute
    act: Act
    notes: list[str] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        return {
            "cohort": self.route.cohort,
            "action": self.act.action,
            "from_stage": self.act.from_stage,
            "to_stage": self.act.to_stage,
            "epoch": self.route.epoch,
            "duration_ms": self.act.duration_ms,
            "notes": self.notes,
            **{name: self.act.details.get(name) for name in ("waited_ms", "held_ms")},
        }


def capture(
    *,
    cohort: str,
    on: bool,
    actor: str,
    reason: str,
    expected_epoch: int | None = None,
    settled_within_seconds: float = SETTLED_WITHIN_SECONDS,
) -> Done:
    """Begin to record what the legacy decides, or cease to. Raises NoSuchStep when it is so already.

    Once it is on, waits until what was given to the legacy before is settled, and says what is not.
    """
    act = Act(action="capture_on" if on else "capture_off", cohort=cohort, actor=actor, reason=reason)
    with refusals_kept(act):
        route = moving.begin(act, expected_epoch=expected_epoch)
        if route.capture == on:
            raise NoSuchStep("Capture is on already." if on else "Capture is off already.")
        after = moving.change(act, Change(capture=on), seen=route)
    notes = []
    if on:
        following.follow_tail_if_it_answers()
        notes.append(_said_of_older(after, settled_within_seconds))
    return Done(route=after, act=act, notes=notes)


def advance(
    *,
    cohort: str,
    actor: str,
    reason: str,
    expected_epoch: int | None = None,
    overridden: Collection[str] = (),
) -> Done:
    """Go one stage on, if every check is green, or red and among those that `overridden` names with a reason.

    Raises NoSuchStep, ChecksAreRed, ReasonMissing, SecondPersonMissing, TailNotFollowed.
    """
    act = Act(action="advance", cohort=cohort, actor=actor, reason=reason)
    with refusals_kept(act):
        route = moving.begin(act, expected_epoch=expected_epoch)
        target = plans.next_stage(route.stage)
        act.to_stage = target.value
        found = plans.plan_of(route, plans.ADVANCE)
        _pass_checks(act, found.checks, overridden)
        approval = None
        if settings.POINTS_CUTOVER_SECOND_PERSON:
            approval = _approved(act, found)
        is_new_decider = plans.changes_decider(route.stage, target)
        if is_new_decider:
            act.details["strangers_before"] = following.follow_tail()
        after = _change_approved(act, Change(stage=target), route, approval)
    notes = _followed_after() if is_new_decider else []
    return Done(route=after, act=act, notes=notes)


def rollback(*, cohort: str, actor: str, reason: str, expected_epoch: int | None = None) -> Done:
    """Go one stage back, at once, whatever the checks say; what it loses is said and journaled.

    Raises NoSuchStep.
    """
    act = Act(action="rollback", cohort=cohort, actor=actor, reason=reason)
    with refusals_kept(act):
        route = moving.begin(act, expected_epoch=expected_epoch)
        target = plans.previous_stage(route.stage)
        lost = figures.rollback_loss(route)
        act.details["rollback_loss"] = lost
        is_new_decider = plans.changes_decider(route.stage, target)
        if is_new_decider:
            act.details["strangers_before"] = following.follow_tail_if_it_answers()
        after = moving.change(act, Change(stage=target), seen=route)
    notes = [f"{lost} operations of the ledger are not in the legacy." if lost else "Nothing is lost."]
    if is_new_decider:
        notes += _followed_after()
    return Done(route=after, act=act, notes=notes)


def freeze(
    *,
    cohort: str,
    actor: str,
    reason: str,
    minutes: float = FREEZE_MINUTES,
    expected_epoch: int | None = None,
    settled_within_seconds: float = SETTLED_WITHIN_SECONDS,
) -> Done:
    """Refuse spends and only queue earns and cancels, for so many minutes at most. Under a freeze that is on
    it is prolonged or shortened. Waits for what was given to the legacy before. Raises BadFreeze."""
    act = Act(action="freeze", cohort=cohort, actor=actor, reason=reason, details={"minutes": minutes})
    with refusals_kept(act):
        if not 0 < minutes <= LONGEST_FREEZE_MINUTES:
            raise BadFreeze(f"A freeze is of up to {LONGEST_FREEZE_MINUTES:.0f} minutes.")
        route = moving.begin(act, expected_epoch=expected_epoch)
        after = moving.change(act, Change(freeze_seconds=minutes * 60), seen=route)
    return Done(route=after, act=act, notes=[_said_of_older(after, settled_within_seconds)])


def thaw(*, cohort: str, actor: str, reason: str, expected_epoch: int | None = None) -> Done:
    """End a freeze before its time; or tidy away one that has ended by itself. Raises NotFrozen."""
    act = Act(action="thaw", cohort=cohort, actor=actor, reason=reason)
    with refusals_kept(act):
        route = moving.begin(act, expected_epoch=expected_epoch)
        if route.freeze_until is None:
            raise NotFrozen("There is no freeze.")
        notes = [] if route.is_frozen else ["The freeze had ended by itself."]
        after = moving.change(act, Change(thaws=True), seen=route)
    return Done(route=after, act=act, notes=notes)


def finish(
    *,
    cohort: str,
    actor: str,
    reason: str,
    expected_epoch: int | None = None,
    overridden: Collection[str] = (),
) -> Done:
    """End the cutover: the only step without return, and always of two persons.

    Raises NoSuchStep, ChecksAreRed, ReasonMissing, SecondPersonMissing.
    """
    act = Act(action="finish", cohort=cohort, actor=actor, reason=reason)
    with refusals_kept(act):
        route = moving.begin(act, expected_epoch=expected_epoch)
        found = plans.plan_of(route, plans.FINISHING)
        _pass_checks(act, found.checks, overridden)
        approval = _approved(act, found)
        after = _change_approved(act, Change(finishes=True, thaws=True), route, approval)
    return Done(route=after, act=act, notes=["The ledger stands alone."])


def _pass_checks(act: Act, checks: Collection[Check], overridden: Collection[str]) -> None:
    """Raises ChecksAreRed and ReasonMissing."""
    act.checks = [check.as_record() for check in checks]
    against = [
        check
        for check in red(checks)
        if not (check.can_be_overridden and (check.name in overridden or "all" in overridden))
    ]
    if against:
        raise ChecksAreRed(against)
    act.details["overridden"] = sorted(check.name for check in red(checks))
    if act.details["overridden"] and not act.reason.strip():
        raise ReasonMissing("Checks are overridden: say why.")


def _approved(act: Act, found: plans.Plan) -> Approval:
    approval = plans.approval_of_another(found, actor=act.actor)
    act.approver = approval.approved_by
    act.details["digest"] = approval.digest
    return approval


def _change_approved(
    act: Act, change: Change, route: CurrentRoute, approval: Approval | None
) -> CurrentRoute:
    within = None if approval is None else lambda: plans.use(approval)
    return moving.change(act, change, seen=route, within=within)


def _followed_after() -> list[str]:
    strangers = following.follow_tail_if_it_answers()
    if strangers is None:
        return ["The legacy does not answer: its newest rows will be read as soon as it does."]
    if not strangers:
        return []
    return [
        f"{strangers} rows came past the API at the switch; their accounts are held until they are applied."
    ]


def _said_of_older(route: CurrentRoute, at_most_seconds: float) -> str:
    left = following.wait_for_older_intents(route, at_most_seconds=at_most_seconds)
    if left:
        return f"{left} operations that were given to the legacy before are not settled yet."
    return "Everything that was given to the legacy before is settled."
