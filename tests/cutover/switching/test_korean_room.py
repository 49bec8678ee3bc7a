"""The control room of a Korean operator: every stage, every act, what is red and what was refused."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from cutover import face, intents, routes
from cutover.models import AssignmentOrder, MirrorMessage
from cutover.switching import assigning, ordering
from ledger.database import fetch_all
from ledger.errors import OutcomeUnknown
from tests.backoffice.korean_reading import english_left
from tests.cutover.legacy_calls import lose_answer
from tests.factories import ClientFactory, EarnFactory


@pytest.fixture(autouse=True)
def quick(legacy_only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "NOTICE_SECONDS", 0.0)
    AssignmentOrder.objects.all().delete()


@pytest.fixture
def korean(browser: Any) -> Any:
    opened = browser("operator")
    opened.cookies["django_language"] = "ko"
    return opened


class Reading:
    """Pages that were read, and what was English on them."""

    def __init__(self, *typed: str) -> None:
        self.typed = {*typed, "default", "mirror"}
        self.left: list[str] = []

    def of(self, name: str, answer: Any) -> Any:
        if answer.status_code == 302:
            return answer
        left = english_left(answer.content.decode(), data=self.typed)
        self.left += [f"{name}: {each}" for each in sorted(left)]
        return answer


def act(opened: Any, name: str, cohort: str, epoch: int, **more: Any) -> Any:
    address = f"/admin/control-room/act/{name}/?cohort={cohort}"
    return opened.post(address, {"expected_epoch": epoch, "reason": "계획대로", **more}, follow=True)


@pytest.mark.parametrize("stage", ["LEGACY_ONLY", "LEGACY_FIRST", "NEW_FIRST", "NEW_ONLY"])
def test_every_stage_and_act(stage: str, korean: Any, make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort(stage)
    (number,) = with_members(cohort, 1)
    reading = Reading(cohort, number, korean.username)
    fetch_all(
        "INSERT INTO cutover_message (account_number, direction, operation_id, stage, epoch, state,"
        " created_at, due_at, failure, last_error, payload) VALUES (%s, 'to_legacy', gen_random_uuid(),"
        " 'NEW_FIRST', 1, 'parked', now(), now(), 'divergence', 'The legacy has no row 7.', '{}')",
        [number],
    )
    room = f"/admin/control-room/?cohort={cohort}"
    page = reading.of("room", korean.get(room)).content.decode()
    assert "멈춤" in page
    for name in ("capture-on", "capture-off", "advance", "rollback", "freeze", "thaw", "finish"):
        reading.of(name, korean.get(f"/admin/control-room/act/{name}/?cohort={cohort}", follow=True))
    reading.of("freeze without a reason", act(korean, "freeze", cohort, 1, reason=" "))
    reading.of("frozen", act(korean, "freeze", cohort, 1, minutes="5"))
    reading.of("too late", act(korean, "freeze", cohort, 1, minutes="5"))
    reading.of("thawed", act(korean, "thaw", cohort, 2))
    reading.of("advanced", act(korean, "advance", cohort, 3))
    reading.of("back", act(korean, "rollback", cohort, 3))
    journal = reading.of("journal", korean.get(room)).content.decode()
    assert "이(가) 먼저 실행했습니다: 동결" in journal
    reading.of("month", korean.get("/admin/control-room/month/?month=2019-02"))
    reading.of("messages", korean.get("/admin/cutover/mirrormessage/"))
    reading.of("callers", korean.get("/admin/cutover/callerscan/"))
    reading.of("mismatches", korean.get("/admin/cutover/mismatch/"))
    MirrorMessage.objects.filter(account_number=number).update(state="waiting")

    assert not reading.left, "\n".join(reading.left)


def test_an_assignment_from_the_form_to_the_end(
    korean: Any, make_cohort: Any, with_members: Any, settings: Any
) -> None:
    cohort, to = make_cohort("LEGACY_ONLY", capture=True), make_cohort("LEGACY_FIRST")
    (number,) = with_members(cohort, 1)
    reading = Reading(cohort, to, number, korean.username)
    address = f"/admin/control-room/assign/?cohort={cohort}"
    given = {"to": to, "accounts": number, "reason": "처음", "key": uuid4()}
    reading.of("form", korean.get(address))
    reading.of("empty", korean.post(address, {"step": "preview"}))
    preview = reading.of("preview", korean.post(address, {**given, "step": "preview"}))
    digest = preview.context["plan"].digest
    reading.of("refused", korean.post(address, {**given, "step": "confirm", "digest": digest}))
    reading.of("stale", korean.post(address, {**given, "step": "confirm", "digest": "0"}))
    there = make_cohort("LEGACY_ONLY", capture=True)
    given = {**given, "to": there}
    digest = korean.post(address, {**given, "step": "preview"}).context["plan"].digest
    made = korean.post(address, {**given, "step": "confirm", "digest": digest})
    reading.typed.add(there)
    reading.of("ordered", korean.get(made["Location"]))
    reading.of(
        "two tabs", korean.post(address, {**given, "key": uuid4(), "step": "confirm", "digest": digest})
    )
    fetch_all("UPDATE cutover_route SET epoch = epoch + 1 WHERE cohort = %s", [cohort])
    ordering.run(order_id=AssignmentOrder.objects.get().id)
    stopped = reading.of("stopped", korean.get(made["Location"])).content.decode()
    assert "전환 일지에 없는 작업으로 변경되었습니다." in stopped

    assert not reading.left, "\n".join(reading.left)
    assert assigning.ACCOUNTS_AT_ONCE == 500


def test_a_doubt(korean: Any, make_cohort: Any, with_members: Any) -> None:
    cohort = make_cohort()
    (number,) = with_members(cohort, 1)
    reading = Reading(cohort, number)
    command = EarnFactory(client_id=ClientFactory().id, account_number=number, points=30)
    with pytest.MonkeyPatch.context() as patch:
        lose_answer(patch, done=True)
        with pytest.raises(OutcomeUnknown):
            face.execute(command)
    intents.doubt(
        operation_id=command.operation_id,
        why="2 new rows could be this operation.",
        evidence={"row_ids": ["7"]},
        attempt=1,
    )
    reading.typed.add(command.reference or "")
    address = f"/admin/control-room/doubts/{command.operation_id}/"
    page = reading.of("doubt", korean.get(address)).content.decode()
    assert "이 거래일 수 있는 새 행이 2건 있습니다." in page
    reading.of("without a row", korean.post(address, {"decision": "applied", "reason": "봤음"}))
    reading.of(
        "of no row", korean.post(address, {"decision": "applied", "reason": "봤음", "row_id": "999999"})
    )

    assert not reading.left, "\n".join(reading.left)
