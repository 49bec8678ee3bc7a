"""Moving points on the pages: a form, its preview, its confirmation; and once, however often it is sent."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client as Browser
from django.urls import reverse

from ledger import queries
from ledger.models import Account, AccountStatusChange, Operation
from pointsystem.backoffice.models import AuditEntry
from pointsystem.backoffice.support.confirming import confirm
from pointsystem.backoffice.support.models import Confirmation, MoveKind
from pointsystem.backoffice.support.moves import Move, command_of
from tests.backoffice.support.people import (
    grant_of,
    make_person,
    opened,
    signed_in,
    text_of,
    token_of,
)
from tests.ledger.concurrency.together import together
from tests.ledger.member import Member, traces


def address(member: Member, kind: str) -> str:
    return reverse("admin:support_move", args=[member.number, kind])


def send(browser: Browser, where: str, step: str, **values: Any) -> HttpResponse:
    answer = browser.post(where, {"step": step, "note": "a broken parcel", **values})
    assert isinstance(answer, HttpResponse)
    return answer


GRANT = {"points": 500, "reason": "COMPENSATION", "expiry": "by policy", "reference": "ticket-7"}


class TestGranting:
    def test_goes_from_the_form_over_the_preview_to_the_operation(
        self, member: Member, supporter: User
    ) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        values = {**GRANT, "token": opened(browser, where)}

        preview = send(browser, where, "preview", **values)
        assert "A lot of 500 comes into being" in text_of(preview)
        assert member.available == 0
        done = send(browser, where, "confirm", **{**values, "token": token_of(preview)})

        operation = Operation.objects.select_related("client", "reason").get(account_number=member.number)
        assert done.status_code == 302
        assert done["Location"] == reverse("admin:support_operation", args=[operation.id])
        assert (operation.kind, operation.points, operation.actor) == ("earn", 500, supporter.username)
        assert (operation.client.name, operation.reference) == ("back-office", "ticket-7")
        assert member.available == 500
        assert "a broken parcel" in text_of(browser.get(done["Location"]))

    def test_is_done_once_when_the_form_is_sent_twice(self, member: Member, supporter: User) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        values = {**GRANT, "token": opened(browser, where)}

        first = send(browser, where, "confirm", **values)
        second = send(browser, where, "confirm", **values)

        assert (first.status_code, second.status_code) == (302, 302)
        assert first["Location"] == second["Location"]
        assert "This was done before, and not again." in text_of(browser.get(second["Location"]))
        assert member.available == 500
        assert AuditEntry.objects.filter(subject_id=member.number, action="account.grant").count() == 1

    def test_is_not_done_again_with_other_values(self, member: Member, supporter: User) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        values = {**GRANT, "token": opened(browser, where)}
        send(browser, where, "confirm", **values)

        changed = send(browser, where, "confirm", **{**values, "points": 900})

        assert changed.status_code == 409
        assert "confirmed before with other values" in text_of(changed)
        assert member.available == 500

    def test_with_a_last_day_lasts_until_its_end_in_the_programmes_zone(
        self, member: Member, supporter: User
    ) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        day = datetime.now(UTC).year + 1
        values = {**GRANT, "expiry": "on", "expires_on": f"{day}-06-30", "token": opened(browser, where)}

        send(browser, where, "confirm", **values)

        (lot,) = queries.lots_page(account_number=member.number).data
        assert lot.expires_at is not None
        assert lot.expires_at.isoformat() == f"{day}-06-30T15:00:00+00:00"

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"points": 0}, "greater than or equal to 1"),
            ({"points": 1_000_000_001}, "less than or equal to 1000000000"),
            ({"points": "many"}, "Enter a whole number"),
            ({"reason": "ORDER_PAYMENT"}, "is not one of the available choices"),
            ({"reference": "two words"}, "1 to 64 characters"),
            ({"note": ""}, "This field is required"),
            ({"expiry": "on"}, "Name the day."),
            ({"expiry": "on", "expires_on": "2001-01-01"}, "From today on"),
        ],
    )
    def test_says_what_is_wrong_and_keeps_the_rest(
        self, member: Member, supporter: User, values: dict[str, Any], words: str
    ) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        answer = send(browser, where, "confirm", **{**GRANT, "token": opened(browser, where), **values})

        assert words in text_of(answer)
        if "reference" not in values:
            assert 'value="ticket-7"' in answer.content.decode()
        assert not Account.objects.filter(account_number=member.number).exists()
        assert not Confirmation.objects.filter(account_number=member.number).exists()


class TestATokenOfAForm:
    @pytest.mark.parametrize("how", ["made up", "of another person", "of another kind"])
    def test_that_is_not_the_forms_own_does_nothing(self, member: Member, supporter: User, how: str) -> None:
        browser = signed_in(supporter)
        where = address(member, "grant")
        token = {
            "made up": lambda: "x:y:z",
            "of another person": lambda: opened(signed_in(make_person("support")), where),
            "of another kind": lambda: opened(browser, address(member, "deduct")),
        }[how]()

        answer = send(browser, where, "confirm", **GRANT, token=token)

        assert "lay open for too long" in text_of(answer)
        assert 'value="500"' in answer.content.decode()
        assert token_of(answer) != token
        assert member.available == 0


def test_a_deduction_takes_points_with_the_operators_reason(member: Member, supporter: User) -> None:
    member.earns(100)
    browser = signed_in(supporter)
    where = address(member, "deduct")
    values = {"points": 60, "reason": "CORRECTION", "token": opened(browser, where)}

    assert "100 → 40" in text_of(send(browser, where, "preview", **values))
    send(browser, where, "confirm", **values)

    assert member.available == 40
    assert Operation.objects.get(account_number=member.number, kind="spend").reason.code == "CORRECTION"  # type: ignore[union-attr]


def test_a_refusal_is_said_in_words_and_the_form_keeps_its_values(member: Member, supporter: User) -> None:
    member.earns(100)
    browser = signed_in(supporter)
    where = address(member, "deduct")
    values = {"points": 100, "reason": "CORRECTION", "token": opened(browser, where)}
    assert send(browser, where, "preview", **values).status_code == 200
    member.spends(50)

    answer = send(browser, where, "confirm", **values)

    assert answer.status_code == 409
    assert "The account has too few points. Nothing was taken. 50 points are available." in text_of(answer)
    assert 'value="100"' in answer.content.decode()
    assert member.available == 50


def test_a_transfer_goes_to_another_account(member: Member, supporter: User) -> None:
    friend = Member()
    member.earns(100)
    browser = signed_in(supporter)
    where = address(member, "transfer")
    values = {"points": 30, "reason": "GIFT", "to_account_number": friend.number}

    same = send(
        browser,
        where,
        "preview",
        **{**values, "to_account_number": member.number, "token": opened(browser, where)},
    )
    send(browser, where, "confirm", **values, token=opened(browser, where))

    assert "This is the same account." in text_of(same)
    assert "given away" in text_of(browser.get(reverse("admin:support_account", args=[member.number])))  # type: ignore[arg-type]
    assert (member.available, friend.available) == (70, 30)


def test_a_transfer_of_several_lots_says_that_they_are_made(member: Member, supporter: User) -> None:
    friend = Member()
    member.earns(10)
    member.earns(20)
    browser = signed_in(supporter)
    where = address(member, "transfer")
    values = {"points": 30, "reason": "GIFT", "to_account_number": friend.number}

    preview = send(browser, where, "preview", **values, token=opened(browser, where))

    assert "These lots are made: +10" in text_of(preview)
    assert "gives these lots back" not in text_of(preview)


def test_a_spend_of_a_client_is_cancelled_in_part_and_then_as_a_whole(
    member: Member, supporter: User
) -> None:
    member.earns(100)
    spent = member.spends(80)
    browser = signed_in(supporter)
    where = reverse("admin:support_cancel", args=[spent.id])
    values = {"reason": "CORRECTION", "reference": "ticket-7"}

    first = browser.get(where)
    assert 'value="80"' in first.content.decode()
    send(browser, where, "confirm", **values, points=30, token=token_of(first))
    assert member.available == 50
    second = browser.get(where)
    assert 'value="50"' in second.content.decode()
    send(browser, where, "confirm", **values, points=50, token=token_of(second))

    assert member.available == 100
    refused = send(browser, where, "preview", **values, points=1, token=opened(browser, where))
    assert "This cannot be cancelled, or not so much of it." in text_of(refused)


def test_a_lead_blocks_unblocks_and_closes_once_each(member: Member, lead: User) -> None:
    member.earns(10)
    browser = signed_in(lead)
    for kind in ("block", "unblock", "close"):
        token = opened(browser, address(member, kind))
        for _ in range(2):
            assert send(browser, address(member, kind), "confirm", token=token).status_code == 302

    changes = AccountStatusChange.objects.filter(account__account_number=member.number).order_by("id")
    assert list(changes.values_list("status", "actor")) == [
        ("blocked", lead.username),
        ("open", lead.username),
        ("closed", lead.username),
    ]
    actions = AuditEntry.objects.filter(subject_id=member.number).order_by("id")
    assert list(actions.values_list("action", flat=True)) == [
        "account.block",
        "account.unblock",
        "account.close",
    ]


def test_a_supporter_moves_points_and_blocks_nobody(member: Member, supporter: User) -> None:
    member.earns(10)
    browser = signed_in(supporter)

    assert browser.get(address(member, "grant")).status_code == 200
    assert browser.get(address(member, "block")).status_code == 403
    assert browser.post(address(member, "close"), {"step": "confirm"}).status_code == 403
    assert browser.get(address(member, "no-such-move")).status_code == 404


@pytest.mark.parametrize("role", ["auditor", "finance", "approver"])
def test_who_may_only_look_moves_nothing(member: Member, person: Callable[[str], User], role: str) -> None:
    member.earns(100)
    before = traces(member.number)
    browser = signed_in(person(role))
    spent = Operation.objects.get(account_number=member.number)

    assert browser.get(reverse("admin:support_account", args=[member.number])).status_code == 200
    assert browser.post(address(member, "grant"), {**GRANT, "step": "confirm"}).status_code == 403
    cancel = browser.post(reverse("admin:support_cancel", args=[spent.id]), {"step": "confirm"})
    assert cancel.status_code == 403
    assert traces(member.number) == before


def test_a_double_click_grants_once(committed_db: None) -> None:
    member, supporter = Member(), make_person("support")
    move = grant_of(member.number, 500)

    answers = together([lambda: confirm(move=move, person=supporter)] * 6)

    ids = {answer.outcome.operation.id for answer in answers if answer.outcome}
    assert len(ids) == 1
    assert member.available == 500
    assert sorted(answer.is_repeated for answer in answers)[0] is False
    assert Confirmation.objects.filter(key=move.key).count() == 1
    assert AuditEntry.objects.filter(subject_id=member.number).count() == 1


@pytest.mark.parametrize("kind", [MoveKind.BLOCK, MoveKind.MASS_GRANT])
def test_what_moves_no_points_is_no_command(db: None, kind: MoveKind) -> None:
    with pytest.raises(ValueError, match="moves no points"):
        command_of(Move(kind=kind, key=uuid4(), account_number="m-1"), actor="kim")


def test_a_kept_form_is_read_back_as_it_was(db: None) -> None:
    move = grant_of("m-1", 5, reference="ticket-7", cancelled_operation_id=uuid4())

    assert Move.from_json(move.to_json()) == move
