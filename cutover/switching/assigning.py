"""Assigning accounts to a cohort: each batch is switched like a stage, under the locks of both cohorts.

An account has one decider at any time. Whoever acted on it under its old route has ended when the locks are
had, and whoever read that route finds another epoch and reads again: both cohorts begin a new one with every
batch. What was done stays done; the same call goes on where it was stopped.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog
from django.conf import settings
from django.db import OperationalError, transaction

from cutover import routes
from cutover.models import DEFAULT_COHORT, RunKind, Stage
from cutover.routes import CurrentRoute
from cutover.switching import following, journal, moving, plans
from cutover.switching.checks import Check, preflight, red
from cutover.switching.choosing import Choice, Counted, count
from cutover.switching.errors import (
    AnotherAssignment,
    BadAssignment,
    ChecksAreRed,
    FreezeEnded,
    NotDrained,
    PlanChanged,
    ReasonMissing,
    RouteChanged,
)
from cutover.switching.journal import Act
from cutover.switching.plans import Plan
from ledger import crash_points
from ledger.database import commit_each, fetch_all, is_lock_timeout

log = structlog.get_logger(__name__)

ACCOUNTS_AT_ONCE: Final = 500
#: Longer than a batch takes; so long after a kill nobody goes on.
_LEASE_SECONDS: Final = 30.0
_STAGES: Final = tuple(Stage)
_COHORT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

_MAKE_COHORT: Final = """
INSERT INTO cutover_route (cohort, stage, epoch, capture, changed_at)
SELECT %(to)s, stage, epoch + 1, capture, clock_timestamp() FROM cutover_route WHERE cohort = %(source)s
ON CONFLICT (cohort) DO NOTHING
"""
_BACK_TO_DEFAULT: Final = """
DELETE FROM cutover_member WHERE account_number = ANY (%(accounts)s) AND cohort = %(source)s
RETURNING account_number
"""
_FROM_DEFAULT: Final = """
INSERT INTO cutover_member (account_number, cohort, assigned_at)
SELECT number, %(to)s, clock_timestamp() FROM unnest(%(accounts)s::text[]) AS number
ON CONFLICT (account_number) DO NOTHING
RETURNING account_number
"""
_FROM_COHORT: Final = """
UPDATE cutover_member SET cohort = %(to)s, assigned_at = clock_timestamp()
WHERE account_number = ANY (%(accounts)s) AND cohort = %(source)s
RETURNING account_number
"""
_READ_BOTH: Final = f"""
SELECT {routes.COLUMNS} FROM cutover_route AS route WHERE cohort = ANY (%s) ORDER BY cohort FOR UPDATE
"""  # noqa: S608
_NEW_EPOCHS: Final = """
UPDATE cutover_route SET epoch = epoch + 1, notice_until = NULL, changed_at = clock_timestamp()
WHERE cohort = ANY (%s) RETURNING cohort, epoch
"""
_TAKE_UP: Final = """
UPDATE cutover_run SET leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE kind = %(kind)s AND finished_at IS NULL AND parameters = %(parameters)s::jsonb
    AND coalesce(leased_until < clock_timestamp(), true)
RETURNING id, cursor
"""
_LEAVE_OTHERS: Final = """
UPDATE cutover_run SET finished_at = clock_timestamp(), last_error = 'left for another assignment'
WHERE kind = %(kind)s AND finished_at IS NULL AND coalesce(leased_until < clock_timestamp(), true)
"""
_START: Final = """
INSERT INTO cutover_run (kind, parameters, accounts_total, counts, started_at, changed_at, leased_until)
VALUES (
    %(kind)s, %(parameters)s::jsonb, %(total)s::bigint, '{}', clock_timestamp(), clock_timestamp(),
    clock_timestamp() + %(lease)s * interval '1 second'
)
ON CONFLICT DO NOTHING RETURNING id, cursor
"""
_WENT_ON: Final = """
UPDATE cutover_run SET cursor = %(cursor)s, accounts_done = accounts_done + %(moved)s,
    changed_at = clock_timestamp(), leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s
"""
_ENDED: Final = """
UPDATE cutover_run SET finished_at = CASE WHEN %(is_done)s::boolean THEN clock_timestamp() END,
    leased_until = NULL, last_error = %(error)s, changed_at = clock_timestamp()
WHERE id = %(id)s AND finished_at IS NULL
"""


@dataclass(slots=True, kw_only=True)
class Assigned:
    """What came of an assignment so far."""

    source: str
    to: str
    moved: int = 0
    #: Given by name, and of another cohort than the one that they were to come from.
    not_of_source: int = 0
    notes: list[str] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        return {
            "cohort": self.source,
            "to": self.to,
            "moved": self.moved,
            "not_of_source": self.not_of_source,
            "notes": self.notes,
        }


def plan(*, cohort: str, to: str, choice: Choice) -> Plan:
    """What an assignment would do. Raises UnknownCohort and BadAssignment."""
    source = moving.route_of(cohort)
    target = routes.everything().get(to, source)
    _check_pair(source, target, to)
    return Plan(
        action="assign",
        cohort=cohort,
        from_stage=source.stage.value,
        to_stage=target.stage.value,
        epoch=source.epoch,
        parameters={"to": to, "accounts": choice.words},
        checks=_checks(source, target),
        steps=[
            f"{choice.words} of {cohort} go to {to}, at most {ACCOUNTS_AT_ONCE} at a time.",
            "Each batch is a switch of its own, and both cohorts begin a new epoch with it.",
        ],
    )


def counted(*, cohort: str, to: str, choice: Choice) -> Counted:
    """How many accounts an assignment would move, and how many of them wait. Raises UnknownCohort."""
    source = moving.route_of(cohort)
    return count(choice, source=source, target=routes.everything().get(to, source))


def assign(
    *,
    cohort: str,
    to: str,
    choice: Choice,
    actor: str,
    reason: str,
    overridden: Collection[str] = (),
    expected_epoch: int | None = None,
    expected_stages: tuple[str, str] | None = None,
    approved_by: str = "",
    on_batch: Callable[[Assigned], None] | None = None,
) -> Assigned:
    """Move accounts of `cohort` to the cohort `to`, which is made with the same stage where there is none.
    `expected_stages` are those that the actor saw, of both; neither may change until the last batch.
    `approved_by` is the second person of an assignment that is gone on with: their approval is used already.

    Raises BadAssignment, ChecksAreRed, ReasonMissing, SecondPersonMissing, TailNotFollowed, RouteChanged,
    PlanChanged, NotDrained, UnknownCohort and DatabaseError; batches that were committed before stay.
    """
    act = Act(action="assign", cohort=cohort, actor=actor, reason=reason)
    act.details = {"to": to, "accounts": choice.words}
    with journal.refusals_kept(act):
        moving.begin(act, expected_epoch=expected_epoch)
        found = plan(cohort=cohort, to=to, choice=choice)
        stages = expected_stages or (found.from_stage, found.to_stage)
        _refuse_other_stages(found.from_stage, found.to_stage, stages)
        act.approver = approved_by
        _pass(act, found, overridden)
        _make(source=cohort, to=to)
        run_id, cursor = _take_up(source=cohort, to=to, choice=choice)
        told = Assigned(source=cohort, to=to)
        error = "stopped"
        try:
            for batch, passed_over in choice.batches(source=cohort, after=cursor, at_most=ACCOUNTS_AT_ONCE):
                told.not_of_source += passed_over
                if not batch:
                    continue
                moved = _move(act, batch, to=to, stages=stages)
                told.moved += moved
                commit_each([(_WENT_ON, _went_on(run_id, batch, moved=moved))])
                if on_batch is not None:
                    on_batch(told)
            error = ""
        finally:
            _end(run_id, error=error)
    return told


def _pass(act: Act, found: Plan, overridden: Collection[str]) -> None:
    """Raises ChecksAreRed, ReasonMissing, SecondPersonMissing."""
    act.checks = [check.as_record() for check in found.checks]
    against = [
        check
        for check in red(found.checks)
        if not (check.can_be_overridden and (check.name in overridden or "all" in overridden))
    ]
    if against:
        raise ChecksAreRed(against)
    if found.red and not act.reason.strip():
        raise ReasonMissing("Checks are overridden: say why.")
    if needs_second_person(found) and not act.approver:
        approval = plans.approval_of_another(found, actor=act.actor)
        plans.use(approval)
        act.approver = approval.approved_by


def needs_second_person(found: Plan) -> bool:
    """Whether somebody else than the actor has to approve the plan of an assignment."""
    return settings.POINTS_CUTOVER_SECOND_PERSON and _is_forward(found.from_stage, found.to_stage)


def _is_forward(before: str, after: str) -> bool:
    return _STAGES.index(Stage(after)) > _STAGES.index(Stage(before))


def _checks(source: CurrentRoute, target: CurrentRoute) -> list[Check]:
    if not _is_forward(source.stage, target.stage):
        return []
    return preflight(source, target.stage)


def _check_pair(source: CurrentRoute, target: CurrentRoute, to: str) -> None:
    """Refuse what a switch would refuse, of the two routes. Raises BadAssignment."""
    if not _COHORT_NAME.fullmatch(to):
        raise BadAssignment("The name of a cohort is of small letters, digits, - and _.")
    if source.cohort == to:
        raise BadAssignment(f"The accounts are of {to} already.")
    if source.is_finished or target.is_finished:
        raise BadAssignment("The cutover of one of the two cohorts is finished.")
    if source.is_frozen or target.is_frozen:
        raise BadAssignment("One of the two cohorts is frozen: thaw it first.")
    if abs(_STAGES.index(source.stage) - _STAGES.index(target.stage)) > 1:
        raise BadAssignment(f"{source.stage.value} and {target.stage.value} are more than one step apart.")
    if source.capture != target.capture and not target.capture:
        raise BadAssignment(f"What is decided in {to} is not captured.")
    if target.stage is not Stage.LEGACY_ONLY and not source.capture:
        raise BadAssignment(f"What is decided in {source.cohort} is not captured.")


def _make(*, source: str, to: str) -> None:
    if to in routes.everything():
        return
    # Until now all accounts may have been of one cohort: nobody may believe so any longer.
    moving.give_notice([source])
    commit_each([(_MAKE_COHORT, {"source": source, "to": to})])
    routes.forget_hints()


def _refuse_other_stages(source: str, target: str, stages: tuple[str, str]) -> None:
    """What was checked, and agreed to, is a move between these stages. Raises PlanChanged."""
    if (source, target) != stages:
        raise PlanChanged(
            f"The accounts were to go from {stages[0]} to {stages[1]}; now it would be {source} to {target}."
        )


def _move(act: Act, accounts: Sequence[str], *, to: str, stages: tuple[str, str]) -> int:
    """Switch one batch; how many accounts were moved."""
    known = routes.everything()
    source, target = known[act.cohort], known[to]
    _check_pair(source, target, to)
    _refuse_other_stages(source.stage.value, target.stage.value, stages)
    is_new_decider = plans.changes_decider(source.stage, target.stage)
    if is_new_decider:
        following.follow_tail()
    moving.give_notice([act.cohort, to])
    try:
        with transaction.atomic(durable=True):
            moved = _move_alone(act, accounts, source, target)
    except OperationalError as error:
        if is_lock_timeout(error):
            raise NotDrained("Operations under way did not end in time. Try again.") from error
        raise
    finally:
        routes.forget_hints()
    crash_points.reach("assign.committed")
    if is_new_decider:
        following.follow_tail_if_it_answers()
    log.warning("accounts_assigned", cohort=act.cohort, to=to, accounts=moved, by=act.actor)
    return moved


def _move_alone(act: Act, accounts: Sequence[str], source: CurrentRoute, target: CurrentRoute) -> int:
    both = [source.cohort, target.cohort]
    moving.lock(both)
    crash_points.reach("assign.locked")
    now = {route.cohort: route for route in map(routes.of_row, fetch_all(_READ_BOTH, [both]))}
    for seen in (source, target):
        if now[seen.cohort].epoch != seen.epoch:
            raise RouteChanged(journal.winner_of(cohort=seen.cohort, since_epoch=seen.epoch))
        if now[seen.cohort].is_frozen:
            raise FreezeEnded("A freeze began meanwhile.")
    if target.cohort == DEFAULT_COHORT:
        statement = _BACK_TO_DEFAULT
    else:
        statement = _FROM_DEFAULT if source.cohort == DEFAULT_COHORT else _FROM_COHORT
    rows = fetch_all(statement, {"accounts": list(accounts), "source": source.cohort, "to": target.cohort})
    crash_points.reach("assign.moved")
    for cohort, epoch in fetch_all(_NEW_EPOCHS, [both]):
        stage = now[cohort].stage.value
        entry = Act(
            action="assign",
            cohort=cohort,
            actor=act.actor,
            reason=act.reason,
            approver=act.approver,
            from_stage=stage,
            to_stage=stage,
            epoch=epoch,
            checks=act.checks,
            details={
                "from": source.cohort,
                "to": target.cohort,
                "accounts": len(rows),
                "first": accounts[0],
                "last": accounts[-1],
            },
            began_at=act.began_at,
        )
        journal.write(entry, result=journal.DONE)
    return len(rows)


# --- the run ------------------------------------------------------------------------------------------
def _take_up(*, source: str, to: str, choice: Choice) -> tuple[int, str | None]:
    """The run of this assignment, leased: one that was stopped, or a new one. Raises AnotherAssignment."""
    text = msgspec.json.encode({"from": source, "to": to, "accounts": choice.words}).decode()
    parameters = {
        "kind": RunKind.ASSIGNMENT.value,
        "parameters": text,
        "lease": _LEASE_SECONDS,
        "total": None if choice.accounts is None else len(set(choice.accounts)),
    }
    for statement in (_TAKE_UP, _LEAVE_OTHERS, _START):
        (rows,) = commit_each([(statement, parameters)])
        if rows:
            return rows[0][0], rows[0][1]
    raise AnotherAssignment("Another assignment is under way.")


def _went_on(run_id: int, batch: Sequence[str], *, moved: int) -> dict[str, Any]:
    return {"id": run_id, "cursor": batch[-1], "moved": moved, "lease": _LEASE_SECONDS}


def _end(run_id: int, *, error: str) -> None:
    commit_each([(_ENDED, {"id": run_id, "is_done": not error, "error": error})])
