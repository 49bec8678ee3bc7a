"""An assignment that is ordered: bound to what was shown, carried out once, and gone on with after a kill."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from cutover import routes, switching
from cutover.models import AssignmentOrder, JournalEntry, Member, MirrorMessage, Run
from cutover.switching import Choice, assigning, errors, ordering, plans
from ledger.database import fetch_all


@pytest.fixture(autouse=True)
def quick(legacy_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(assigning, "ACCOUNTS_AT_ONCE", 10)
    AssignmentOrder.objects.all().delete()


def members(cohort: str) -> set[str]:
    return set(Member.objects.filter(cohort=cohort).values_list("account_number", flat=True))


def order(cohort: str, to: str, choice: Choice, **more: Any) -> AssignmentOrder:
    found = assigning.plan(cohort=cohort, to=to, choice=choice)
    given = {"key": uuid4(), "digest": found.digest, "actor": "kim", "reason": "A first few.", **more}
    return ordering.order(cohort=cohort, to=to, choice=choice, **given).order


def owes(number: str, direction: str) -> None:
    fetch_all(
        "INSERT INTO cutover_message (account_number, direction, operation_id, stage, epoch, state,"
        " created_at, due_at, failure, last_error, payload) VALUES (%s, %s, gen_random_uuid(), 'NEW_FIRST',"
        " 1, 'parked', now(), now(), 'poison', 'x', '{}')",
        [number, direction],
    )


def test_a_worker_carries_it_out_and_says_how_far_it_came(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    numbers = with_members(cohort, 25)
    asked = order(cohort, f"{cohort}-b", Choice(accounts=(*numbers, "stranger")))
    assert (asked.state, asked.accounts_total, asked.not_of_source) == ("waiting", 25, 1)
    assert members(f"{cohort}-b") == set()

    assert ordering.due() == [asked.id]
    done = ordering.run(order_id=asked.id)

    assert done is not None
    assert (done.state, done.moved, done.outcome) == ("done", 25, "")
    assert members(f"{cohort}-b") == set(numbers)
    assert (ordering.due(), ordering.run(order_id=asked.id)) == ([], None)
    entries = JournalEntry.objects.filter(cohort=f"{cohort}-b", action="assign")
    assert [(entry.actor, entry.reason, entry.details["accounts"]) for entry in entries] == [
        ("kim", "A first few.", 10),
        ("kim", "A first few.", 10),
        ("kim", "A first few.", 5),
    ]


def test_the_same_form_twice_is_one_order(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    choice, key = Choice(accounts=tuple(with_members(cohort, 1))), uuid4()
    digest = assigning.plan(cohort=cohort, to="b", choice=choice).digest
    given: dict[str, Any] = {"key": key, "cohort": cohort, "to": "b", "choice": choice, "digest": digest}

    first = ordering.order(**given, actor="kim", reason="x")
    again = ordering.order(**given, actor="kim", reason="x")

    assert (first.order.id, first.is_repeated) == (again.order.id, False)
    assert again.is_repeated
    with pytest.raises(errors.PlanChanged):
        ordering.order(**given, actor="lee", reason="x")
    with pytest.raises(errors.PlanChanged):
        ordering.order(**{**given, "digest": "0" * 64}, actor="kim", reason="x")
    assert AssignmentOrder.objects.count() == 1


def test_of_two_tabs_one_orders(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    one, other = (Choice(accounts=(number,)) for number in with_members(cohort, 2))
    seen = assigning.plan(cohort=cohort, to="b", choice=other).digest
    asked = order(cohort, f"{cohort}-b", one)

    with pytest.raises(errors.AnotherAssignment):
        order(cohort, f"{cohort}-b", other)
    with pytest.raises(IntegrityError, match="assignment_order_one_open_per_cohort"), transaction.atomic():
        AssignmentOrder.objects.create(
            **{
                field.attname: getattr(asked, field.attname)
                for field in AssignmentOrder._meta.fields
                if field.name != "id"
            }
            | {"key": uuid4()}
        )
    ordering.run(order_id=asked.id)
    with pytest.raises(errors.PlanChanged):
        order(cohort, "b", other, digest=seen)
    assert AssignmentOrder.objects.count() == 1


def test_what_happens_to_the_cohort_before_the_worker_comes_stops_it(
    make_cohort: Any, with_members: Any
) -> None:
    cohort = make_cohort("NEW_FIRST")
    numbers = with_members(cohort, 1)
    asked = order(cohort, f"{cohort}-b", Choice(accounts=tuple(numbers)))
    switching.rollback(cohort=cohort, actor="lee", reason="wrong balances")

    stopped = ordering.run(order_id=asked.id)

    assert stopped is not None
    assert (stopped.state, stopped.moved) == ("refused", 0)
    assert "lee was first: rollback" in stopped.outcome
    assert members(cohort) == set(numbers)


def test_another_stage_in_the_middle_stops_it_and_what_was_moved_stays(
    make_cohort: Any, with_members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, to = make_cohort("NEW_FIRST"), make_cohort("NEW_FIRST")
    numbers = sorted(with_members(cohort, 25))
    asked = order(cohort, to, Choice(accounts=tuple(numbers)))
    went_on = ordering.commit_each

    def roll_back_after_the_first(statements: Any) -> Any:
        if len(members(to)) == 10:
            switching.rollback(cohort=to, actor="lee", reason="wrong balances")
        return went_on(statements)

    monkeypatch.setattr(ordering, "commit_each", roll_back_after_the_first)
    stopped = ordering.run(order_id=asked.id)

    assert stopped is not None
    assert (stopped.state, stopped.moved) == ("refused", 10)
    assert "now it would be NEW_FIRST to LEGACY_FIRST" in stopped.outcome
    assert members(to) == set(numbers[:10])


def test_a_worker_that_was_killed_is_followed_by_another(
    make_cohort: Any, with_members: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = make_cohort("NEW_FIRST")
    numbers = with_members(cohort, 25)
    to = f"{cohort}-b"
    asked = order(cohort, to, Choice(accounts=tuple(numbers)))

    class Killed(BaseException):
        pass

    def kill(statements: Any) -> Any:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "commit_each", kill)
        with pytest.raises(Killed):
            ordering.run(order_id=asked.id)
    assert len(members(to)) == 10
    assert ordering.run(order_id=asked.id) is None
    earlier = "leased_until = clock_timestamp() - interval '1 second'"
    fetch_all(f"UPDATE cutover_assignment_order SET {earlier}")
    Run.objects.filter(kind="assignment", finished_at__isnull=True).update(leased_until=None)

    done = ordering.run(order_id=asked.id)

    assert done is not None
    assert (done.state, done.moved) == ("done", 25)
    assert members(to) == set(numbers)


def test_an_order_that_nobody_began_can_be_withdrawn(make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    choice = Choice(accounts=tuple(with_members(cohort, 1)))
    asked = order(cohort, f"{cohort}-b", choice)

    assert ordering.withdraw(order_id=asked.id)
    assert not ordering.withdraw(order_id=asked.id)
    assert ordering.run(order_id=asked.id) is None
    assert members(f"{cohort}-b") == set()
    done = ordering.run(order_id=order(cohort, f"{cohort}-b", choice).id)
    assert done is not None
    assert not ordering.withdraw(order_id=done.id)


def test_where_two_persons_are_asked_for_it_waits_for_the_second(
    make_cohort: Any, with_members: Any, moved_history: Any, settings: Any
) -> None:
    settings.POINTS_CUTOVER_SECOND_PERSON = True
    cohort, to = make_cohort("LEGACY_ONLY", capture=True), make_cohort("LEGACY_FIRST")
    (number,) = with_members(cohort, 1)
    fetch_all(
        "INSERT INTO cutover_journal (cohort, action, from_stage, to_stage, epoch, actor, approver, reason,"
        " checks, result, details, duration_ms, at) VALUES (%s, 'capture_on', 'LEGACY_ONLY', 'LEGACY_ONLY',"
        " 1, 'kim', '', '', '[]', 'done', '{}', 1, clock_timestamp())",
        [cohort],
    )
    moved_history()
    overridden = ["workers_are_alive", "nothing_is_in_doubt", "older_intents_are_settled", "redis_is_up"]
    asked = order(cohort, to, Choice(accounts=(number,)), overridden=overridden)

    plans.approve_plan(ordering.plan_of(asked), digest=ordering.plan_of(asked).digest, actor="kim")
    assert ordering.run(order_id=asked.id) is None
    assert JournalEntry.objects.filter(cohort=cohort, action="assign").count() == 0
    plans.approve_plan(ordering.plan_of(asked), digest=ordering.plan_of(asked).digest, actor="lee")
    done = ordering.run(order_id=asked.id)

    assert done is not None
    assert (done.state, done.outcome) == ("done", "")
    assert members(to) == {number}
    assert JournalEntry.objects.filter(cohort=to, action="assign").get().approver == "lee"


def test_it_is_counted_beforehand_what_moves_and_what_waits(make_cohort: Any, with_members: Any) -> None:
    cohort, other = make_cohort("NEW_FIRST"), make_cohort("NEW_FIRST")
    back = make_cohort("LEGACY_FIRST")
    held, owing, too, free = with_members(cohort, 4)
    (stranger,) = with_members(other, 1)
    fetch_all(
        "INSERT INTO cutover_followed_account (account_number) SELECT unnest(%s::text[])", [[held, free]]
    )
    owes(held, "to_ledger")
    owes(owing, "to_legacy")
    owes(too, "to_legacy")
    choice = Choice(accounts=(held, owing, too, free, stranger))

    same = assigning.counted(cohort=cohort, to=other, choice=choice)
    earlier = assigning.counted(cohort=cohort, to=back, choice=choice)

    assert (same.moves, same.not_of_source, same.never_seen) == (4, 1, 2)
    assert (same.held_now, same.held_after) == (1, 1)
    assert (earlier.held_now, earlier.held_after) == (1, 2)
    by_percentage = assigning.counted(cohort=cohort, to=other, choice=Choice(percent=100))
    assert (by_percentage.moves, by_percentage.not_of_source, by_percentage.never_seen) == (2, 0, 0)
    MirrorMessage.objects.filter(account_number__in=[held, owing, too]).update(state="waiting")
