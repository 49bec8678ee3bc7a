"""The control room over HTTP: what it shows, who may act, and that two tabs cannot both switch."""

from __future__ import annotations

import csv
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import pytest

from cutover import face, intents
from cutover.models import JournalEntry, MirrorMessage, Route
from ledger.database import fetch_all
from ledger.errors import OutcomeUnknown
from ledger.models import Operation
from legacy_bridge import configured, sessions
from pointsystem.backoffice.models import AuditEntry
from tests.cutover.legacy_calls import lose_answer
from tests.factories import ClientFactory, EarnFactory

pytestmark = pytest.mark.usefixtures("legacy_only")


def room(opened: Any, cohort: str, **more: str) -> str:
    answer = opened.get("/admin/control-room/", {"cohort": cohort, **more})
    assert answer.status_code == 200
    return str(answer.content.decode())


def act(opened: Any, name: str, cohort: str, epoch: int, **more: Any) -> Any:
    given = {"expected_epoch": epoch, "reason": "As planned.", **more}
    return opened.post(f"/admin/control-room/act/{name}/?cohort={cohort}", given)


def test_it_says_who_decides_in_words_and_figures(
    browser: Any,
    make_cohort: Any,
    with_members: Any,
) -> None:
    cohort = make_cohort("NEW_FIRST")
    (number,) = with_members(cohort, 1)
    fetch_all(
        "INSERT INTO cutover_message (account_number, direction, operation_id, stage, epoch, state,"
        " created_at, due_at, failure, last_error, payload) VALUES (%s, 'to_legacy', gen_random_uuid(),"
        " 'NEW_FIRST', 1, 'parked', now(), now(), 'poison', 'It cannot be <b>told</b>.', '{\"points\": 7}')",
        [number],
    )
    page = room(browser("auditor"), cohort)

    assert "The ledger decides, and the legacy follows." in page
    assert "1 message waits for a person." in page
    assert "1 operation of the ledger would not be in the legacy." in page
    assert 'aria-current="step"><strong>NEW_FIRST</strong>' in page
    assert "It cannot be &lt;b&gt;told&lt;/b&gt;." in page
    assert "&quot;points&quot;: 7" in page
    # What nobody has measured is not 0.
    assert "Never done:" in page or "Ended" in page
    assert "not known" in page
    MirrorMessage.objects.filter(account_number=number).update(state="waiting")


def test_the_part_that_changes_is_the_same_without_its_frame(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("LEGACY_FIRST")
    part = room(browser("operator"), cohort, part="live")
    assert "The legacy decides, and the ledger follows." in part
    assert "<html" not in part
    assert "<script" not in part


def test_whoever_only_looks_finds_every_button_closed(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    auditor = browser("auditor")
    assert "Your role may look, and not do this." in room(auditor, cohort)
    for name in ("rollback", "freeze", "approve"):
        assert act(auditor, name, cohort, 1).status_code == 403
    assert browser("support").get("/admin/control-room/").status_code == 403
    assert act(browser("operator"), "approve", cohort, 1).status_code == 403
    assert act(browser("approver"), "rollback", cohort, 1).status_code == 403
    assert Route.objects.get(cohort=cohort).epoch == 1


def test_an_act_asks_for_a_reason_and_leaves_it_in_journal_and_trail(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_FIRST")
    operator = browser("operator")
    asked = operator.get(f"/admin/control-room/act/rollback/?cohort={cohort}")
    assert "One step back is possible at once, and would lose nothing." in asked.content.decode()
    assert act(operator, "rollback", cohort, 1, reason=" ").status_code == 200
    assert Route.objects.get(cohort=cohort).stage == "NEW_FIRST"

    assert act(operator, "rollback", cohort, 1).status_code == 302
    assert Route.objects.get(cohort=cohort).stage == "LEGACY_FIRST"
    entry = JournalEntry.objects.get(cohort=cohort)
    assert (entry.actor, entry.reason, entry.result) == (operator.username, "As planned.", "done")
    trail = AuditEntry.objects.get(subject_id=cohort)
    assert (trail.action, trail.username, trail.reason) == (
        "cutover.rollback",
        operator.username,
        "As planned.",
    )
    assert (trail.before, trail.after["stage"]) == ({"stage": "NEW_FIRST"}, "LEGACY_FIRST")


def test_of_two_tabs_one_switches_and_the_other_is_told(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    operator = browser("operator")
    assert act(operator, "rollback", cohort, 1).status_code == 302
    second = act(operator, "rollback", cohort, 1)
    assert second.status_code == 409
    assert f"{operator.username} was first: rollback" in second.content.decode()
    assert Route.objects.get(cohort=cohort).stage == "NEW_FIRST"
    assert AuditEntry.objects.filter(subject_id=cohort).count() == 1


def test_a_red_check_closes_the_button_or_asks_for_an_override(
    browser: Any,
    make_cohort: Any,
    moved_history: Any,
    no_workers: None,
) -> None:
    operator = browser("operator")
    cohort = make_cohort()
    assert "Red, and not to be overridden: capture is on" in room(operator, cohort)
    refused = act(operator, "advance", cohort, 1, override=["capture_is_on"])
    assert refused.status_code == 409
    assert act(operator, "capture-on", cohort, 1).status_code == 302
    moved_history()
    assert act(operator, "advance", cohort, 2).status_code == 409
    assert act(operator, "advance", cohort, 2, override=["workers_are_alive"]).status_code == 302
    assert Route.objects.get(cohort=cohort).stage == "LEGACY_FIRST"


def test_a_freeze_counts_down_and_is_ended(browser: Any, make_cohort: Any) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    assert act(operator, "freeze", cohort, 1, minutes="5").status_code == 302
    page = room(operator, cohort)
    assert "Spending is stopped by a freeze." in page
    assert ">4:5" in page
    assert act(operator, "freeze", cohort, 2, minutes="9999").status_code == 200
    assert act(operator, "thaw", cohort, 2).status_code == 302
    assert "Spending is stopped by a freeze." not in room(operator, cohort)


def test_the_end_takes_an_operator_and_an_approver(browser: Any, make_cohort: Any) -> None:
    cohort = make_cohort("NEW_ONLY")
    operator, approver = browser("operator"), browser("approver")
    overrides = ["redis_is_up", "no_real_mismatches", "month_agrees", "nothing_is_in_doubt"]
    assert act(operator, "finish", cohort, 1, override=overrides).status_code == 409
    asked = approver.get(f"/admin/control-room/act/approve/?cohort={cohort}")
    digest = asked.context["plan"].digest
    assert act(approver, "approve", cohort, 1, digest="0" * 64).status_code == 409
    assert act(approver, "approve", cohort, 1, digest=digest).status_code == 302
    assert act(operator, "finish", cohort, 1, override=overrides).status_code == 302
    assert Route.objects.get(cohort=cohort).finished_at is not None
    page = room(operator, cohort)
    assert "The cutover is finished: the ledger stands alone." in page
    assert "There is no way back." in page
    assert act(operator, "rollback", cohort, 2).status_code == 302
    assert Route.objects.get(cohort=cohort).stage == "NEW_ONLY"


def test_the_journal_is_a_table_to_take_along(browser: Any, make_cohort: Any) -> None:
    operator, cohort = browser("operator"), make_cohort("NEW_FIRST")
    act(operator, "rollback", cohort, 1)
    answer = operator.get("/admin/control-room/journal.csv", {"cohort": cohort})
    head, row = csv.reader(StringIO(answer.content.decode()))
    assert dict(zip(head, row, strict=True))["to_stage"] == "LEGACY_FIRST"
    assert "attachment" in answer["Content-Disposition"]


@pytest.mark.parametrize("name", ["destroy", "assign"])
def test_there_are_no_other_acts(name: str, browser: Any) -> None:
    assert act(browser("operator"), name, "default", 1).status_code == 404


def test_a_cohort_that_is_not_is_not_found(browser: Any) -> None:
    operator = browser("operator")
    assert operator.get("/admin/control-room/", {"cohort": "nobody"}).status_code == 404
    assert operator.get("/admin/control-room/act/rollback/", {"cohort": "nobody"}).status_code == 404


def test_a_month_is_compared_on_its_own_page(browser: Any) -> None:
    auditor = browser("auditor")
    page = auditor.get("/admin/control-room/month/", {"month": "2019-02"})
    assert page.status_code == 200
    assert "Neither side has anything in this month." in page.content.decode()
    for wrong in ("2999-01", "2019-13", "x", "2019-1"):
        assert auditor.get("/admin/control-room/month/", {"month": wrong}).status_code == 404


def test_a_doubt_is_decided_with_what_is_known_of_it(
    browser: Any, with_members: Any, make_cohort: Any
) -> None:
    cohort = make_cohort()
    (number,) = with_members(cohort, 1)
    command = EarnFactory(client_id=ClientFactory().id, account_number=number, points=30)
    with pytest.MonkeyPatch.context() as patch:
        lose_answer(patch, done=True)
        with pytest.raises(OutcomeUnknown):
            face.execute(command)
    intents.doubt(
        operation_id=command.operation_id, why="Nobody knows.", evidence={"row_ids": ["7"]}, attempt=1
    )
    operator = browser("operator")
    assert "Nobody knows." in room(operator, cohort)
    address = f"/admin/control-room/doubts/{command.operation_id}/"
    assert "row_ids" in operator.get(address).content.decode()
    assert browser("auditor").post(address, {"decision": "applied"}).status_code == 403

    given = {"decision": "applied", "reason": "I looked."}
    assert operator.post(address, given).status_code == 409
    assert operator.post(address, {**given, "row_id": "999999"}).status_code == 409
    with sessions.session() as session:
        row = configured.adapter().last_row_id(session, account_number=number)
    assert operator.post(address, {**given, "row_id": row}).status_code == 302
    assert Operation.objects.get(id=command.operation_id).state == "completed"
    trail = AuditEntry.objects.get(subject_id=str(command.operation_id))
    assert (trail.action, trail.reason, trail.after["row_id"]) == ("doubt.decided", "I looked.", row)
    assert operator.get(address).status_code == 404


def test_without_a_legacy_there_is_nothing_to_switch(browser: Any, settings: Any) -> None:
    settings.HAS_LEGACY = False
    answer = browser("operator").get("/admin/control-room/")
    assert "the ledger stands alone" in answer.content.decode()


@pytest.mark.parametrize(
    "garbage", ["\x00", "x" * 10_000, "-1", "9" * 40, "NaN", "1e999", "é\U0001f4a9", "0000-00"]
)
def test_whatever_is_sent_the_answer_is_a_page(garbage: str, browser: Any, make_cohort: Any) -> None:
    operator = browser("operator")
    operator.raise_request_exception = False
    cohort = make_cohort("NEW_FIRST")
    fields = ("reason", "expected_epoch", "digest", "minutes", "override", "to", "accounts", "percent", "key")
    names = ("capture-on", "capture-off", "advance", "rollback", "freeze", "thaw", "finish", "approve")
    answers = [operator.get("/admin/control-room/month/", {"month": garbage})]
    for page in ("", "assign/", "journal.csv", *(f"act/{name}/" for name in names)):
        address = f"/admin/control-room/{page}"
        answers.append(operator.get(address, {"cohort": garbage, "part": garbage}))
        for sent in (cohort, garbage):
            given = {**dict.fromkeys(fields, garbage), "step": "confirm"}
            answers.append(operator.post(f"{address}?{urlencode({'cohort': sent})}", given))
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    assert Route.objects.get(cohort=cohort).epoch == 1
