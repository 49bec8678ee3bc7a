"""Assigning accounts from the control room: form, preview, order and its page."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest

from cutover import routes
from cutover.models import AssignmentOrder, Member
from cutover.switching import assigning, ordering
from pointsystem.backoffice.models import AuditEntry


@pytest.fixture(autouse=True)
def quick(legacy_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(assigning, "ACCOUNTS_AT_ONCE", 10)
    AssignmentOrder.objects.all().delete()


def sent(opened: Any, cohort: str, step: str, **given: Any) -> Any:
    values = {"key": uuid4(), "reason": "A first few.", "step": step, **given}
    return opened.post(f"/admin/control-room/assign/?cohort={cohort}", values)


def words(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_from_the_form_to_the_end(browser: Any, make_cohort: Any, with_members: Any) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    numbers = with_members(cohort, 25)
    to = f"{cohort}-b"
    form = operator.get(f"/admin/control-room/assign/?cohort={cohort}")
    assert form.status_code == 200
    given = {
        "to": to,
        "accounts": "\n".join([*numbers, "stranger"]),
        "key": form.context["form"]["key"].value(),
    }

    preview = sent(operator, cohort, "preview", **given)
    assert preview.status_code == 200
    assert "Accounts that would move 25 Of another cohort: they stay where they are 1" in words(preview)
    assert "Assign 25 accounts" in words(preview)
    assert AssignmentOrder.objects.count() == 0

    confirmed = sent(operator, cohort, "confirm", **given, digest=preview.context["plan"].digest)
    assert confirmed.status_code == 302
    again = sent(operator, cohort, "confirm", **given, digest=preview.context["plan"].digest)
    assert again["Location"] == confirmed["Location"]
    asked = AssignmentOrder.objects.get()
    assert (asked.actor, asked.reason, asked.to) == (operator.username, "A first few.", to)
    trail = AuditEntry.objects.get(subject_id=cohort)
    assert (trail.action, trail.username, trail.after["to"]) == (
        "cutover.assignment_ordered",
        operator.username,
        to,
    )
    assert "0 of 25 accounts are moved." in words(operator.get(confirmed["Location"]))

    ordering.run(order_id=asked.id)

    page = words(browser("auditor").get(confirmed["Location"]))
    assert "25 of 25 accounts are moved." in page
    assert "done" in page
    assert Member.objects.filter(cohort=to).count() == 25
    part = operator.get(confirmed["Location"], {"part": "live"}).content.decode()
    assert "<html" not in part


def test_who_may_only_look_finds_no_form_and_is_refused(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    for role in ("auditor", "approver"):
        opened = browser(role)
        page = opened.get(f"/admin/control-room/assign/?cohort={cohort}").content.decode()
        assert 'name="percent"' not in page
        assert "Your role may look, and not do this." in page
        for step in ("preview", "confirm"):
            assert sent(opened, cohort, step, to="b", percent="5").status_code == 403
    assert browser("support").get("/admin/control-room/assign/").status_code == 403
    assert AssignmentOrder.objects.count() == 0


def test_two_tabs_cannot_both_order(browser: Any, make_cohort: Any, with_members: Any) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    one, other = with_members(cohort, 2)
    to = f"{cohort}-b"
    given = [{"to": to, "accounts": number, "key": uuid4()} for number in (one, other)]
    digests = [sent(operator, cohort, "preview", **each).context["plan"].digest for each in given]

    assert sent(operator, cohort, "confirm", **given[0], digest=digests[0]).status_code == 302
    second = sent(operator, cohort, "confirm", **given[1], digest=digests[1])
    assert second.status_code == 409
    assert "Another assignment of this cohort is not done yet." in second.content.decode()
    ordering.run(order_id=AssignmentOrder.objects.get().id)
    late = sent(operator, cohort, "confirm", **given[1], digest=digests[1])
    assert late.status_code == 409
    assert "The plan has changed" in late.content.decode()
    assert set(Member.objects.filter(cohort=to).values_list("account_number", flat=True)) == {one}


def test_a_red_check_is_overridden_by_name_or_refuses(
    browser: Any, make_cohort: Any, with_members: Any
) -> None:
    operator, cohort = browser("operator"), make_cohort("LEGACY_ONLY", capture=True)
    to = make_cohort("LEGACY_FIRST")
    (number,) = with_members(cohort, 1)
    given = {"to": to, "accounts": number}
    preview = sent(operator, cohort, "preview", **given)
    assert "Cannot be overridden." in words(preview)
    refused = sent(
        operator,
        cohort,
        "confirm",
        **given,
        digest=preview.context["plan"].digest,
        override=["capture_is_on"],
    )
    assert refused.status_code == 409
    assert AssignmentOrder.objects.count() == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": "b"}, "Give account numbers or a percentage, and not both."),
        (
            {"to": "b", "percent": "5", "accounts": "A-1"},
            "Give account numbers or a percentage, and not both.",
        ),
        ({"to": "b", "percent": "0"}, "greater than or equal to 0.01"),
        ({"to": "b", "percent": "nan"}, "Enter a number."),
        ({"to": "b", "percent": "1e400"}, "Enter a number."),
        ({"to": "b", "percent": "5", "reason": " "}, "This field is required."),
        ({"to": "b", "accounts": "A-1 né"}, "No account number: né"),
        ({"to": "b", "accounts": "A\x001"}, "Null characters are not allowed."),
        ({"to": "B c", "percent": "5"}, "The name of a cohort is of small letters"),
        ({"to": "x" * 10_000, "percent": "5"}, "at most 64 characters"),
        ({"to": "b", "percent": "5", "key": "no"}, "Enter a valid UUID."),
        ({"to": "b", "accounts": " ".join(f"A-{n}" for n in range(20_001))}, "At most 20000 accounts here."),
    ],
)
def test_what_cannot_be_is_said_beside_its_field(
    given: dict[str, Any], said: str, browser: Any, make_cohort: Any
) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    for step in ("preview", "confirm", "change", ""):
        answer = sent(operator, cohort, step, **given)
        assert answer.status_code in (200, 409)
    assert said in words(sent(operator, cohort, "preview", **given))
    assert AssignmentOrder.objects.count() == 0


def test_its_author_withdraws_an_order_that_waits(browser: Any, make_cohort: Any, with_members: Any) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    given = {"to": f"{cohort}-b", "accounts": with_members(cohort, 1)[0]}
    digest = sent(operator, cohort, "preview", **given).context["plan"].digest
    address = sent(operator, cohort, "confirm", **given, digest=digest)["Location"]
    assert browser("auditor").post(address, {"decision": "withdraw", "reason": "x"}).status_code == 403
    assert operator.post(address, {"decision": "withdraw", "reason": " "}).status_code == 409
    assert operator.post(address, {"decision": "withdraw", "reason": "too early"}).status_code == 302
    assert operator.post(address, {"decision": "withdraw", "reason": "too early"}).status_code == 409
    assert AssignmentOrder.objects.get().state == "withdrawn"
    actions = list(
        AuditEntry.objects.filter(subject_id=cohort).values_list("action", "reason").order_by("id")
    )
    assert actions == [
        ("cutover.assignment_ordered", "A first few."),
        ("cutover.assignment_withdrawn", "too early"),
    ]


def test_a_second_person_approves_the_plan_of_the_order(
    browser: Any, make_cohort: Any, with_members: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.POINTS_CUTOVER_SECOND_PERSON = True
    monkeypatch.setattr(assigning, "preflight", lambda *_: [])
    operator, approver = browser("operator"), browser("approver")
    cohort, to = make_cohort("LEGACY_ONLY", capture=True), make_cohort("LEGACY_FIRST")
    given = {"to": to, "accounts": with_members(cohort, 1)[0]}
    preview = sent(operator, cohort, "preview", **given)
    assert "A second person has to approve the plan" in words(preview)
    digest = preview.context["plan"].digest
    address = sent(operator, cohort, "confirm", **given, digest=digest)["Location"]
    asked = AssignmentOrder.objects.get()
    assert ordering.run(order_id=asked.id) is None
    said = {"decision": "approve", "reason": "seen"}
    assert operator.post(address, {**said, "digest": digest}).status_code == 403
    assert approver.post(address, {**said, "digest": "0" * 64}).status_code == 409
    assert "Approve the plan" in words(approver.get(address))
    assert approver.post(address, {**said, "digest": digest}).status_code == 302
    done = ordering.run(order_id=asked.id)
    assert done is not None
    assert done.state == "done"


def test_what_is_not_there_is_not_found(browser: Any) -> None:
    operator = browser("operator")
    assert operator.get("/admin/control-room/assign/?cohort=nobody").status_code == 404
    assert operator.get("/admin/control-room/assignments/0/").status_code == 404
    assert operator.get(f"/admin/control-room/assignments/{'9' * 30}/").status_code == 404
