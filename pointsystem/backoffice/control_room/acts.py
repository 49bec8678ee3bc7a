"""The acts of the control room: who may do which, when a button is closed and why, and doing it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from cutover import switching
from cutover.models import Stage
from cutover.switching import Done, Plan, Status, checks, plans
from ledger.told import name_told
from pointsystem.backoffice import audit

OPERATE: Final = "backoffice.operate_cutover"
APPROVE: Final = "backoffice.approve_cutover"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    name: str
    title: Any
    does: Any
    permission: str = OPERATE
    is_danger: bool = False
    #: Shows the plan of this act (`plans.ACTIONS`), and binds an approval to it.
    plans: str | None = None


ACTS: Final = {
    act.name: act
    for act in (
        Act(name="capture-on", title=_("Switch capture on"), does=_("Records what the legacy decides.")),
        Act(
            name="capture-off",
            title=_("Switch capture off"),
            does=_("Ceases to record what the legacy decides."),
        ),
        Act(name="advance", title=_("One stage on"), does=_("Goes to the next stage."), plans=plans.ADVANCE),
        Act(
            name="rollback",
            title=_("One stage back"),
            does=_("Goes back at once, whatever the checks say."),
            is_danger=True,
            plans=plans.ROLLBACK,
        ),
        Act(name="freeze", title=_("Freeze"), does=_("Stops spending for some minutes.")),
        Act(name="thaw", title=_("Thaw"), does=_("Ends the freeze.")),
        Act(
            name="finish",
            title=_("Finish the cutover"),
            does=_("The ledger stands alone. There is no way back."),
            is_danger=True,
            plans=plans.FINISHING,
        ),
        Act(
            name="approve",
            title=_("Approve the plan"),
            does=_("Says yes, as the second person, to the plan that is shown."),
            permission=APPROVE,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """An act that is offered now, or why it is not."""

    act: Act
    why_closed: Any

    @property
    def is_open(self) -> bool:
        return not self.why_closed


def buttons(status: Status, plan: Plan | None, user: Any) -> list[Button]:
    """Those that make sense in this stage, in the order of the page."""
    route = status.route
    if route.is_finished:
        return []
    names = []
    if route.stage is Stage.LEGACY_ONLY:
        names.append("capture-off" if route.capture else "capture-on")
    names.append("finish" if route.stage is Stage.NEW_ONLY else "advance")
    if route.stage is not Stage.LEGACY_ONLY:
        names.append("rollback")
    names.append("thaw" if route.freeze_until is not None and route.is_frozen else "freeze")
    names.append("approve")
    return [Button(act=ACTS[name], why_closed=_why_closed(ACTS[name], plan, user)) for name in names]


def _why_closed(act: Act, plan: Plan | None, user: Any) -> Any:
    if not user.has_perm(act.permission):
        return _("Your role may look, and not do this.")
    if act.plans in (plans.ADVANCE, plans.FINISHING) and plan is not None:
        firm = [check for check in checks.red(plan.checks) if not check.can_be_overridden]
        if firm:
            return _("Red, and not to be overridden: %s") % ", ".join(name_told(check.name) for check in firm)
    return ""


def perform(
    act: Act,
    *,
    cohort: str,
    reason: str,
    expected_epoch: int,
    request: HttpRequest,
    minutes: float | None = None,
    overridden: Collection[str] = (),
) -> Done:
    """Do it, and write it to the audit trail beside the cutover's own journal. Raises SwitchRefused."""
    common: dict[str, Any] = {
        "cohort": cohort,
        "actor": request.user.get_username(),
        "reason": reason,
        "expected_epoch": expected_epoch,
    }
    does: dict[str, Callable[[], Done]] = {
        "capture-on": lambda: switching.capture(on=True, settled_within_seconds=5, **common),
        "capture-off": lambda: switching.capture(on=False, **common),
        "advance": lambda: switching.advance(overridden=overridden, **common),
        "rollback": lambda: switching.rollback(**common),
        "freeze": lambda: switching.freeze(
            minutes=minutes or switching.FREEZE_MINUTES, settled_within_seconds=5, **common
        ),
        "thaw": lambda: switching.thaw(**common),
        "finish": lambda: switching.finish(overridden=overridden, **common),
    }
    done = does[act.name]()
    _record(
        done.act.action,
        cohort,
        reason,
        request,
        before={"stage": done.act.from_stage},
        after={"stage": done.act.to_stage, "epoch": done.route.epoch, **done.act.details},
    )
    return done


def approve(*, cohort: str, digest: str, reason: str, request: HttpRequest) -> Plan:
    """Say yes to the plan that was shown. Raises SwitchRefused."""
    plan = switching.approve(cohort=cohort, action=None, digest=digest, actor=request.user.get_username())
    _record("plan_approved", cohort, reason, request, before=None, after={**plan.bound, "digest": digest})
    return plan


def _record(
    verb: str,
    cohort: str,
    reason: str,
    request: HttpRequest,
    *,
    before: dict[str, Any] | None,
    after: dict[str, Any],
) -> None:
    """The act has committed, and the journal has it: the trail says the same of the person."""
    with transaction.atomic():
        audit.record(
            action=f"cutover.{verb}",
            subject_kind="cohort",
            subject_id=cohort,
            reason=reason,
            before=before,
            after=after,
            request=request,
        )
