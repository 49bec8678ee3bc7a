"""What would be done is shown first, and a second person says yes to that and to nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from cutover import switching
from cutover.models import Approval, JournalEntry, Route
from cutover.switching import errors, plans
from ledger.database import fetch_all

pytestmark = pytest.mark.usefixtures("legacy_only")

WHO: dict[str, Any] = {"actor": "kim", "reason": "It is time."}


@pytest.fixture
def two_persons(settings: Any) -> None:
    settings.POINTS_CUTOVER_SECOND_PERSON = True


def epoch_of(cohort: str) -> int:
    return Route.objects.get(cohort=cohort).epoch


def test_a_plan_changes_nothing_and_is_named_by_its_digest(make_cohort: Any) -> None:
    cohort = make_cohort("LEGACY_FIRST")
    found = switching.plan(cohort=cohort)
    again = switching.plan(cohort=cohort)

    assert (found.action, found.from_stage, found.to_stage, found.epoch) == (
        "advance",
        "LEGACY_FIRST",
        "NEW_FIRST",
        1,
    )
    assert found.digest == again.digest
    assert len(found.digest) == 64
    assert found.digest != switching.plan(cohort=cohort, action="rollback").digest
    assert (Route.objects.get(cohort=cohort).stage, epoch_of(cohort)) == ("LEGACY_FIRST", 1)
    assert not JournalEntry.objects.filter(cohort=cohort).exists()


@pytest.mark.usefixtures("two_persons")
def test_a_step_forward_needs_the_yes_of_another_person(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    digest = switching.plan(cohort=cohort).digest
    with pytest.raises(errors.SecondPersonMissing):
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    switching.approve(cohort=cohort, action=None, digest=digest, actor="kim")
    with pytest.raises(errors.SecondPersonMissing):
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    switching.approve(cohort=cohort, action=None, digest=digest, actor="lee")
    switching.advance(cohort=cohort, overridden=("all",), **WHO)

    entry = JournalEntry.objects.get(cohort=cohort, result="done")
    assert (entry.actor, entry.approver, entry.to_stage) == ("kim", "lee", "NEW_ONLY")
    used = Approval.objects.filter(cohort=cohort, used_at__isnull=False)
    assert [approval.approved_by for approval in used] == ["lee"]


@pytest.mark.usefixtures("two_persons")
def test_a_way_back_needs_nobody(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    switching.rollback(cohort=cohort, **WHO)
    assert Route.objects.get(cohort=cohort).stage == "NEW_FIRST"


@pytest.mark.usefixtures("two_persons")
def test_an_approval_is_of_one_epoch(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    digest = switching.plan(cohort=cohort).digest
    switching.approve(cohort=cohort, action="advance", digest=digest, actor="lee")
    switching.freeze(cohort=cohort, settled_within_seconds=0, **WHO)
    with pytest.raises(errors.SecondPersonMissing):
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    with pytest.raises(errors.PlanChanged):
        switching.approve(cohort=cohort, action="advance", digest=digest, actor="lee")


@pytest.mark.usefixtures("two_persons")
def test_an_approval_is_not_good_once_another_check_is_red(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    digest = switching.plan(cohort=cohort).digest
    switching.approve(cohort=cohort, action=None, digest=digest, actor="lee")
    fetch_all(
        "INSERT INTO cutover_message (account_number, direction, operation_id, stage, epoch, state,"
        " created_at, due_at) VALUES (%s, 'to_legacy', gen_random_uuid(), 'NEW_FIRST', 1, 'parked', now(),"
        " now())",
        with_members(cohort, 1),
    )
    with pytest.raises(errors.SecondPersonMissing):
        switching.advance(cohort=cohort, overridden=("all",), **WHO)
    assert epoch_of(cohort) == 1


def test_an_approval_stays_good_when_a_check_turns_green(make_cohort: Any) -> None:
    found = switching.plan(cohort=make_cohort("NEW_FIRST"))
    switching.approve(cohort=found.cohort, action=None, digest=found.digest, actor="lee")
    better = plans.Plan(
        action=found.action,
        cohort=found.cohort,
        from_stage=found.from_stage,
        to_stage=found.to_stage,
        epoch=found.epoch,
        checks=[check for check in found.checks if check.is_green],
    )
    assert better.digest != found.digest
    assert len(plans.approvals_for(better)) == 1


def test_saying_yes_twice_is_once(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    digest = switching.plan(cohort=cohort).digest
    for _ in range(2):
        switching.approve(cohort=cohort, action=None, digest=digest, actor="lee")
    assert Approval.objects.filter(cohort=cohort).count() == 1
    assert not connection.in_atomic_block


def test_the_end_is_always_of_two_persons(make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    with pytest.raises(errors.SecondPersonMissing):
        switching.finish(cohort=cohort, overridden=("all",), **WHO)
    digest = switching.plan(cohort=cohort).digest
    switching.approve(cohort=cohort, action=None, digest=digest, actor="lee")
    switching.finish(cohort=cohort, overridden=("all",), **WHO)

    route = Route.objects.get(cohort=cohort)
    assert route.finished_at is not None
    assert route.epoch == 2
    found = switching.as_json(switching.status(cohort=cohort))
    assert found["rollback_loss"] is None
    for act in (switching.rollback, switching.advance, switching.finish, switching.freeze):
        with pytest.raises(errors.AlreadyFinished):
            act(cohort=cohort, **WHO)
    with pytest.raises(errors.NoSuchStep):
        switching.plan(cohort=cohort)


@pytest.mark.parametrize("stage", ["LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST"])
def test_only_the_last_stage_can_be_finished(stage: str, make_cohort: Any) -> None:
    cohort = make_cohort(stage)
    with pytest.raises(errors.NoSuchStep):
        switching.finish(cohort=cohort, overridden=("all",), **WHO)
    assert Route.objects.get(cohort=cohort).finished_at is None
