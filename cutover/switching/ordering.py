"""Orders to assign accounts: confirmed on a page, carried out by a worker, one at a time for a cohort.

1. Whoever orders names the plan that was shown. Another plan now, or an order that is open, refuses it.
2. A worker takes the order under a lease and assigns, a batch at a time; each is journaled as by the command.
3. A worker that is killed leaves an order that runs, and a lease that ends: the next one goes on. It goes on
   under the stages that were confirmed, and under no others.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from django.db import IntegrityError

from cutover.models import Approval, AssignmentOrder, Run, RunKind
from cutover.switching import assigning, plans
from cutover.switching.assigning import Assigned
from cutover.switching.checks import red
from cutover.switching.choosing import Choice, Counted
from cutover.switching.errors import (
    AnotherAssignment,
    ChecksAreRed,
    PlanChanged,
    ReasonMissing,
    SwitchRefused,
)
from cutover.switching.plans import Plan
from ledger import crash_points
from ledger.database import commit_each, fetch_all, fetch_in_savepoint, fetch_one, violated_constraint

log = structlog.get_logger(__name__)

#: Longer than a batch takes; so long after a kill nobody goes on.
LEASE_SECONDS: Final = 30.0

_ORDER: Final = """
INSERT INTO cutover_assignment_order (
    key, cohort, "to", accounts, percent, digest, epoch, from_stage, to_stage, overridden, actor, reason,
    state, accounts_total, moved, not_of_source, outcome, ordered_at
) VALUES (
    %(key)s, %(cohort)s, %(to)s, %(accounts)s::jsonb, %(percent)s, %(digest)s, %(epoch)s, %(from_stage)s,
    %(to_stage)s, %(overridden)s::jsonb, %(actor)s, %(reason)s, 'waiting', %(accounts_total)s, 0,
    %(not_of_source)s, '', clock_timestamp()
)
RETURNING id
"""
_TAKE: Final = """
UPDATE cutover_assignment_order SET state = 'running',
    started_at = coalesce(started_at, clock_timestamp()),
    leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND (state = 'waiting' OR state = 'running' AND leased_until < clock_timestamp())
RETURNING id
"""
_WENT_ON: Final = """
UPDATE cutover_assignment_order SET moved = %(moved)s,
    leased_until = clock_timestamp() + %(lease)s * interval '1 second'
WHERE id = %(id)s AND state = 'running'
"""
_ENDED: Final = """
UPDATE cutover_assignment_order SET state = %(state)s, moved = %(moved)s, outcome = %(outcome)s,
    finished_at = clock_timestamp(), leased_until = NULL
WHERE id = %(id)s AND state = 'running'
RETURNING id
"""
_WITHDRAW: Final = """
UPDATE cutover_assignment_order SET state = 'withdrawn', finished_at = clock_timestamp()
WHERE id = %(id)s AND state = 'waiting' RETURNING id
"""
# A batch commits together with its entries, so they know what was moved, also when a worker was killed.
_MOVED: Final = """
SELECT coalesce(sum((details ->> 'accounts')::bigint), 0) FROM cutover_journal
WHERE cohort = %(to)s AND action = 'assign' AND result = 'done' AND details ->> 'from' = %(cohort)s
    AND at >= %(since)s
"""
_DUE: Final = """
SELECT id FROM cutover_assignment_order
WHERE state = 'waiting' OR state = 'running' AND leased_until < clock_timestamp()
ORDER BY id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    order: AssignmentOrder
    #: The same form had been confirmed before.
    is_repeated: bool = False


def order(
    *,
    key: UUID,
    cohort: str,
    to: str,
    choice: Choice,
    digest: str,
    actor: str,
    reason: str,
    overridden: Collection[str] = (),
) -> Ordered:
    """Keep that the plan of this digest is to be carried out; once for its key.

    Raises PlanChanged, ChecksAreRed, ReasonMissing, AnotherAssignment, BadAssignment, UnknownCohort.
    """
    known = AssignmentOrder.objects.filter(key=key).first()
    if known is not None:
        return _repeated(known, digest=digest, actor=actor)
    found = assigning.plan(cohort=cohort, to=to, choice=choice)
    if found.digest != digest:
        raise PlanChanged(
            f"The plan has changed: its digest is {found.digest[:12]} now. Look at it again first."
        )
    against = [
        check for check in red(found.checks) if not (check.can_be_overridden and check.name in overridden)
    ]
    if against:
        raise ChecksAreRed(against)
    if not reason.strip():
        raise ReasonMissing("Say why.")
    counted = assigning.counted(cohort=cohort, to=to, choice=choice)
    values = _values(found, choice, counted, key=key, actor=actor, reason=reason, overridden=overridden)
    try:
        fetch_in_savepoint(_ORDER, values)
    except IntegrityError as error:
        if violated_constraint(error) == "assignment_order_one_open_per_cohort":
            raise AnotherAssignment("Another assignment of this cohort is not done yet.") from error
        if "key" in (violated_constraint(error) or ""):
            return _repeated(AssignmentOrder.objects.get(key=key), digest=digest, actor=actor)
        raise
    return Ordered(order=AssignmentOrder.objects.get(key=key))


def _repeated(known: AssignmentOrder, *, digest: str, actor: str) -> Ordered:
    if (known.digest, known.actor) != (digest, actor):
        raise PlanChanged("This form was confirmed before with other values, and did what it said then.")
    return Ordered(order=known, is_repeated=True)


def _values(
    found: Plan, choice: Choice, counted: Counted, *, key: UUID, overridden: Collection[str], **by: str
) -> dict[str, Any]:
    names = choice.accounts and sorted(set(choice.accounts))
    return {
        "key": key,
        "cohort": found.cohort,
        "to": found.parameters["to"],
        "accounts": msgspec.json.encode(names).decode() if names else None,
        "percent": choice.percent,
        "digest": found.digest,
        "epoch": found.epoch,
        "from_stage": found.from_stage,
        "to_stage": found.to_stage,
        "overridden": msgspec.json.encode(sorted(overridden)).decode(),
        "actor": by["actor"],
        "reason": by["reason"],
        "accounts_total": counted.moves,
        "not_of_source": counted.not_of_source,
    }


def choice_of(asked: AssignmentOrder) -> Choice:
    return Choice(
        accounts=None if asked.accounts is None else tuple(asked.accounts),
        percent=asked.percent,
    )


def plan_of(asked: AssignmentOrder) -> Plan:
    """What the order would do now. Raises UnknownCohort and BadAssignment."""
    return assigning.plan(cohort=asked.cohort, to=asked.to, choice=choice_of(asked))


def waits_for_approval(asked: AssignmentOrder, found: Plan) -> bool:
    """Whether a worker leaves the order alone until a second person approves its plan."""
    if not assigning.needs_second_person(found) or _approved_by(asked):
        return False
    return all(approval.approved_by == asked.actor for approval in plans.approvals_for(found))


def withdraw(*, order_id: int) -> bool:
    """Take back an order that no worker has begun; False when it was too late."""
    return bool(fetch_all(_WITHDRAW, {"id": order_id}))


def due() -> list[int]:
    """Orders that nobody works on."""
    return [row[0] for row in fetch_all(_DUE)]


def run(*, order_id: int) -> AssignmentOrder | None:
    """Carry out an order, or go on with it; None when another has it, or somebody has to approve it first.

    Raises DatabaseError: then it runs, and is gone on with when its lease has ended.
    """
    asked = AssignmentOrder.objects.filter(id=order_id).first()
    if asked is None or _another_runs():
        return None
    try:
        if asked.started_at is None and waits_for_approval(asked, plan_of(asked)):
            return None
    except SwitchRefused:
        # It is refused below, where the journal keeps it.
        pass
    if not fetch_all(_TAKE, {"id": order_id, "lease": LEASE_SECONDS}):
        return None
    crash_points.reach("order.taken")
    is_first = asked.started_at is None
    asked.refresh_from_db()
    outcome = ""
    try:
        _assign(asked, is_first=is_first)
    except SwitchRefused as refused:
        outcome = str(refused)
        log.warning("assignment_order_stopped", order_id=order_id, code=refused.code, why=outcome)
    state = "refused" if outcome else "done"
    ended = {"id": order_id, "state": state, "moved": _moved(asked), "outcome": outcome}
    fetch_all(_ENDED, ended)
    asked.refresh_from_db()
    return asked


def _assign(asked: AssignmentOrder, *, is_first: bool) -> Assigned:
    before = 0 if is_first else _moved(asked)

    def went_on(told: Assigned) -> None:
        values = {"id": asked.id, "moved": before + told.moved, "lease": LEASE_SECONDS}
        commit_each([(_WENT_ON, values)])
        crash_points.reach("order.went_on")

    return assigning.assign(
        cohort=asked.cohort,
        to=asked.to,
        choice=choice_of(asked),
        actor=asked.actor,
        reason=asked.reason,
        overridden=asked.overridden,
        expected_epoch=asked.epoch if is_first else None,
        expected_stages=(asked.from_stage, asked.to_stage),
        approved_by="" if is_first else _approved_by(asked),
        on_batch=went_on,
    )


def _approved_by(asked: AssignmentOrder) -> str:
    """Whoever approved the plan that was confirmed, once their approval is used."""
    found = Approval.objects.filter(digest=asked.digest, used_at__isnull=False).order_by("-id").first()
    return "" if found is None else found.approved_by


def _moved(asked: AssignmentOrder) -> int:
    if asked.started_at is None:
        return 0
    row = fetch_one(_MOVED, {"to": asked.to, "cohort": asked.cohort, "since": asked.started_at})
    return 0 if row is None else int(row[0])


def _another_runs() -> bool:
    """A command's assignment, or a worker's: its lease is not over. There is one at a time."""
    from django.db.models.functions import Now

    return Run.objects.filter(
        kind=RunKind.ASSIGNMENT, finished_at__isnull=True, leased_until__gt=Now()
    ).exists()
