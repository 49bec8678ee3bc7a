"""Above the limit a second person decides, once; and what was approved is done with its original key."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from ledger.database import fetch_all
from ledger.locks import account_locks
from ledger.models import Operation
from pointsystem.backoffice.models import AuditEntry
from pointsystem.backoffice.support import requests
from pointsystem.backoffice.support.confirming import confirm
from pointsystem.backoffice.support.models import ApprovalRequest, RequestState
from tests.backoffice.support.people import (
    deduct_of,
    grant_of,
    make_person,
    opened,
    signed_in,
    text_of,
)
from tests.ledger.concurrency.together import together
from tests.ledger.member import Member

LIMIT = 1000


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.POINTS_APPROVAL_LIMIT = LIMIT


def ask(member: Member, author: User, *, points: int = LIMIT + 1, **values: Any) -> ApprovalRequest:
    asked = confirm(move=grant_of(member.number, points, **values), person=author).request
    assert asked is not None
    return asked


def actions(asked: ApprovalRequest) -> list[tuple[str, str]]:
    found = AuditEntry.objects.filter(subject_kind="request", subject_id=str(asked.id)).order_by("id")
    return list(found.values_list("action", "username"))


def test_up_to_the_limit_nobody_is_asked(member: Member, supporter: User) -> None:
    assert confirm(move=grant_of(member.number, LIMIT), person=supporter).request is None
    assert member.available == LIMIT


def test_above_the_limit_nothing_moves_until_somebody_else_approves(
    member: Member, supporter: User, lead: User
) -> None:
    asked = ask(member, supporter)
    assert member.available == 0

    done = requests.approve(request_id=asked.id, person=lead, note="seen the ticket")

    assert done.state == RequestState.DONE
    operation = Operation.objects.get(id=done.operation_id)
    assert (operation.idempotency_key, operation.actor) == (str(asked.confirmation_id), supporter.username)
    assert member.available == LIMIT + 1
    assert actions(asked) == [
        ("request.asked", supporter.username),
        ("request.approved", lead.username),
        ("request.done", ""),
    ]


def test_sending_the_form_twice_asks_once(member: Member, supporter: User) -> None:
    key = uuid4()

    first, second = ask(member, supporter, key=key), ask(member, supporter, key=key)

    assert first.id == second.id


def test_sending_the_form_again_after_the_approval_does_nothing_more(
    member: Member, supporter: User, lead: User
) -> None:
    key = uuid4()
    asked = ask(member, supporter, key=key)
    requests.approve(request_id=asked.id, person=lead)

    again = ask(member, supporter, key=key)

    assert again.state == RequestState.DONE
    assert member.available == LIMIT + 1


def test_nobody_approves_what_they_asked_for(member: Member, lead: User) -> None:
    asked = ask(member, lead)

    with pytest.raises(requests.SecondPersonNeeded):
        requests.approve(request_id=asked.id, person=lead)
    with pytest.raises(IntegrityError, match="approval_request_has_a_second_person"), transaction.atomic():
        ApprovalRequest.objects.filter(id=asked.id).update(state="approved", decided_by=lead)

    assert ApprovalRequest.objects.get(id=asked.id).state == RequestState.WAITING
    assert member.available == 0


def test_a_rejection_has_a_reason_and_is_the_end(member: Member, supporter: User, lead: User) -> None:
    asked = ask(member, supporter)

    with pytest.raises(requests.RequestRefused, match="Say why"):
        requests.reject(request_id=asked.id, person=lead, note=" ")
    requests.reject(request_id=asked.id, person=lead, note="no ticket")

    with pytest.raises(requests.AlreadyDecided):
        requests.approve(request_id=asked.id, person=lead)
    assert ApprovalRequest.objects.get(id=asked.id).decision_note == "no ticket"
    assert member.available == 0


def test_its_author_withdraws_a_request_that_nobody_decided(
    member: Member, supporter: User, lead: User
) -> None:
    key = uuid4()
    asked = ask(member, supporter, key=key)

    with pytest.raises(requests.NotTheAuthor):
        requests.withdraw(request_id=asked.id, person=lead)
    withdrawn = requests.withdraw(request_id=asked.id, person=supporter, note="wrong account")

    assert (withdrawn.state, withdrawn.decided_by, withdrawn.decision_note) == (
        RequestState.WITHDRAWN,
        None,
        "wrong account",
    )
    for end in (requests.approve, requests.reject):
        with pytest.raises(requests.AlreadyDecided, match="withdrawn"):
            end(request_id=asked.id, person=lead, note="seen")
    with pytest.raises(requests.AlreadyDecided):
        requests.withdraw(request_id=asked.id, person=supporter)
    assert ask(member, supporter, key=key).state == RequestState.WITHDRAWN
    assert requests.sweep() == 0
    assert member.available == 0
    assert actions(asked) == [
        ("request.asked", supporter.username),
        ("request.withdrawn", supporter.username),
    ]


def test_what_was_decided_cannot_be_withdrawn(member: Member, supporter: User, lead: User) -> None:
    approved, late = ask(member, supporter), ask(member, supporter)
    requests.approve(request_id=approved.id, person=lead)
    ApprovalRequest.objects.filter(id=late.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    for asked in (approved, late):
        with pytest.raises(requests.AlreadyDecided):
            requests.withdraw(request_id=asked.id, person=supporter)

    states = dict(ApprovalRequest.objects.values_list("id", "state"))
    assert (states[approved.id], states[late.id]) == (RequestState.DONE, RequestState.EXPIRED)
    assert member.available == LIMIT + 1


def test_approving_and_withdrawing_at_once_has_one_end(committed_db: None) -> None:
    member, author, lead = Member(), make_person("support"), make_person("support lead")
    for _ in range(5):
        asked = ask(member, author)
        before = member.available

        def end(by: Any, person: User, asked: ApprovalRequest = asked) -> str:
            try:
                return str(by(request_id=asked.id, person=person).state)
            except requests.AlreadyDecided:
                return "too late"

        answers = together([lambda: end(requests.approve, lead), lambda: end(requests.withdraw, author)])

        assert sorted(answers) in (["done", "too late"], ["too late", "withdrawn"])
        assert member.available - before == (LIMIT + 1 if "done" in answers else 0)


def test_a_request_that_waited_seven_days_has_expired(member: Member, supporter: User, lead: User) -> None:
    asked = ask(member, supporter)
    assert asked.expires_at - asked.asked_at == timedelta(days=7)
    ApprovalRequest.objects.filter(id=asked.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    with pytest.raises(requests.AlreadyDecided, match="expired"):
        requests.approve(request_id=asked.id, person=lead)

    assert ApprovalRequest.objects.get(id=asked.id).state == RequestState.EXPIRED
    assert member.available == 0
    assert actions(asked)[-1] == ("request.expired", "")


def test_the_sweeper_ends_what_waited_too_long(member: Member, supporter: User) -> None:
    late, waiting = ask(member, supporter), ask(member, supporter)
    ApprovalRequest.objects.filter(id=late.id).update(expires_at=timezone.now() - timedelta(seconds=1))

    requests.sweep()

    states = dict(ApprovalRequest.objects.values_list("id", "state"))
    assert (states[late.id], states[waiting.id]) == (RequestState.EXPIRED, RequestState.WAITING)


def test_what_the_ledger_refuses_is_the_outcome_of_the_request(
    member: Member, supporter: User, lead: User
) -> None:
    member.earns(LIMIT + 1)
    asked = confirm(move=deduct_of(member.number, LIMIT + 1), person=supporter).request
    assert asked is not None
    member.spends(1)

    done = requests.approve(request_id=asked.id, person=lead)

    assert done.state == RequestState.REFUSED
    assert "too few points" in done.outcome
    assert member.available == LIMIT


def test_two_approvers_at_once_approve_once(committed_db: None) -> None:
    member, author = Member(), make_person("support")
    asked = ask(member, author)
    leads = [make_person("support lead") for _ in range(4)]

    def approve(lead: User) -> str:
        try:
            return requests.approve(request_id=asked.id, person=lead).state
        except requests.AlreadyDecided:
            return "too late"

    answers = together([lambda lead=lead: approve(lead) for lead in leads])  # type: ignore[misc]

    assert sorted(answers) == ["done", "too late", "too late", "too late"]
    assert member.available == LIMIT + 1
    assert len([action for action, _ in actions(asked) if action == "request.approved"]) == 1


def test_what_could_not_be_done_yet_is_done_by_the_sweeper(committed_db: None, settings: Any) -> None:
    member, author, lead = Member(), make_person("support"), make_person("support lead")
    member.earns(1)
    asked = ask(member, author)
    busy: list[ApprovalRequest] = []

    def hold_and_approve() -> None:
        with transaction.atomic():
            fetch_all(*account_locks([member.number]))
            (answer,) = together([lambda: requests.approve(request_id=asked.id, person=lead)])
            busy.append(answer)

    hold_and_approve()
    assert (busy[0].state, member.available) == (RequestState.APPROVED, 1)
    assert "Something else is being done on this account" in busy[0].outcome
    earlier = timezone.now() - timedelta(minutes=1)
    ApprovalRequest.objects.filter(id=asked.id).update(decided_at=earlier, attempted_at=earlier)

    requests.sweep()
    requests.sweep()

    assert ApprovalRequest.objects.get(id=asked.id).state == RequestState.DONE
    assert member.available == LIMIT + 2


class TestThePages:
    def test_lead_from_the_form_to_the_approval(self, member: Member, supporter: User, lead: User) -> None:
        author, approver = signed_in(supporter), signed_in(lead)
        where = reverse("admin:support_move", args=[member.number, "grant"])
        values = {
            "points": LIMIT + 1,
            "reason": "COMPENSATION",
            "expiry": "by policy",
            "note": "a broken parcel",
            "token": opened(author, where),
        }

        preview = author.post(where, {**values, "step": "preview"})
        assert "a second person has to approve it" in text_of(preview)  # type: ignore[arg-type]
        asked = author.post(where, {**values, "step": "confirm"})["Location"]
        assert "somebody else has to decide" in text_of(author.get(asked))  # type: ignore[arg-type]
        assert author.post(asked, {"decision": "approve"}).status_code == 403
        shown = text_of(approver.get(asked))  # type: ignore[arg-type]
        assert "What approving would do now" in shown
        assert f"0 → {LIMIT + 1:,}" in shown
        assert approver.post(asked, {"decision": "reject"}).status_code == 409
        assert approver.post(asked, {"decision": "approve", "note": "yes"}).status_code == 302

        assert member.available == LIMIT + 1
        assert approver.post(asked, {"decision": "approve"}).status_code == 409

    def test_offer_the_author_alone_to_withdraw(self, member: Member, supporter: User, lead: User) -> None:
        where = reverse("admin:support_request", args=[ask(member, supporter).id])
        author, approver = signed_in(supporter), signed_in(lead)

        assert 'value="withdraw"' in author.get(where).content.decode()
        assert 'value="withdraw"' not in approver.get(where).content.decode()
        assert approver.post(where, {"decision": "withdraw"}).status_code == 403
        assert author.post(where, {"decision": "withdraw", "note": "x" * 501}).status_code == 200
        assert author.post(where, {"decision": "withdraw", "note": "wrong account"}).status_code == 302

        shown = text_of(author.get(where))  # type: ignore[arg-type]
        assert "wrong account" in shown
        assert 'value="withdraw"' not in author.get(where).content.decode()
        assert author.post(where, {"decision": "withdraw"}).status_code == 409
        assert approver.post(where, {"decision": "approve"}).status_code == 409
        assert member.available == 0

    def test_list_what_waits_and_on_demand_everything(
        self, member: Member, supporter: User, lead: User
    ) -> None:
        waiting, ended = ask(member, supporter), ask(member, supporter)
        requests.reject(request_id=ended.id, person=lead, note="no ticket")
        browser = signed_in(lead)
        where = reverse("admin:support_requests")

        links = [reverse("admin:support_request", args=[one.id]) for one in (waiting, ended)]
        opens = browser.get(where).content.decode()
        everything = browser.get(where, {"show": "all"}).content.decode()

        assert [f'"{link}"' in opens for link in links] == [True, False]
        assert [f'"{link}"' in everything for link in links] == [True, True]

    def test_a_request_that_is_not_there_is_not_found(self, lead: User) -> None:
        assert signed_in(lead).get(reverse("admin:support_request", args=[0])).status_code == 404


@pytest.mark.parametrize("statement", ["UPDATE {} SET note = 'x'", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_a_confirmed_form_can_neither_be_changed_nor_deleted(
    member: Member, supporter: User, statement: str
) -> None:
    asked = ask(member, supporter)

    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        fetch_all(statement.format("backoffice_confirmation"))

    assert ApprovalRequest.objects.get(id=asked.id).confirmation.note == "a broken parcel"


def test_nor_by_the_owner_of_the_tables(db: None) -> None:
    triggers = fetch_all(
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'backoffice_confirmation'::regclass"
        " AND NOT tgisinternal AND tgenabled = 'O'"
    )
    assert triggers == [("confirmation_is_insert_only",)]
