"""An operation in doubt is decided by a person, who has looked into the legacy."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cutover import doubts, face, intents
from cutover.models import Intent
from ledger import errors
from ledger.models import Operation
from legacy_bridge import giving
from legacy_bridge.errors import OutcomeUnknown
from tests.factories import ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture
def mine() -> dict[str, Any]:
    return {"client_id": ClientFactory().id, "account_number": account_number()}


@pytest.fixture
def lost(mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A spend that the legacy did, whose answer was lost, and which nobody could settle."""
    face.execute(EarnFactory(**mine, points=100))
    give = giving.give
    spend = SpendFactory(**mine, points=30)

    def lose_the_answer(*arguments: Any) -> Any:
        give(*arguments)
        raise OutcomeUnknown("lost")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", lose_the_answer)
        with pytest.raises(errors.OutcomeUnknown):
            face.execute(spend)
    evidence = {"row_ids": ["7"]}
    intents.doubt(operation_id=spend.operation_id, why="Nobody knows.", evidence=evidence, attempt=1)
    return spend


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("in_doubt", *arguments, stdout=output)
    return output.getvalue()


def row_of(spend: Any) -> str:
    line = face.history_page(account_number=spend.account_number).data[0]
    return str(Operation.objects.get(id=line.operation_id).counterpart_id)


def test_it_is_listed_with_what_is_known(lost: Any) -> None:
    (listed,) = [
        doubt
        for doubt in json.loads(command("list", "--json"))
        if doubt["operation_id"] == str(lost.operation_id)
    ]

    assert (listed["kind"], listed["points"], listed["why"]) == ("spend", 30, "Nobody knows.")
    assert listed["evidence"] == {"row_ids": ["7"]}
    assert str(lost.operation_id) in command("list")


def test_while_it_lasts_the_key_is_in_progress_and_others_go_on(lost: Any, settings: Any) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.05
    with pytest.raises(errors.OperationInProgress):
        face.execute(lost)

    face.execute(EarnFactory(client_id=lost.client_id, account_number=lost.account_number, points=1))
    assert face.balance(account_number=lost.account_number).available == 71


def test_decided_as_applied_it_has_its_outcome(lost: Any, legacy_only: Any) -> None:
    from legacy_bridge.sessions import session

    with session() as opened:
        rows = legacy_only.history(opened, account_number=lost.account_number, before_row_id=None, limit=1)
    command("decide", str(lost.operation_id), "--applied", rows[0].row_id, "--reason", "seen", "--by", "lee")

    replayed = face.execute(lost)
    assert (replayed.is_replayed, replayed.operation.state, replayed.operation.balance_after) == (
        True,
        "completed",
        70,
    )
    assert Intent.objects.get(operation_id=lost.operation_id).settled_by == "lee"
    assert row_of(lost) == rows[0].row_id


def test_decided_as_not_applied_the_key_is_free(lost: Any) -> None:
    command("decide", str(lost.operation_id), "--not-applied", "--reason", "looked", "--json")

    assert not Operation.objects.filter(id=lost.operation_id).exists()
    assert not Intent.objects.filter(operation_id=lost.operation_id).exists()
    assert face.execute(lost).is_replayed is False


def test_what_cannot_be_is_refused(lost: Any) -> None:
    earned = Operation.objects.get(account_number=lost.account_number, kind="earn")
    for row_id, words in [(str(earned.counterpart_id), "another operation"), ("999999999", "no row")]:
        with pytest.raises(doubts.DecisionRefused, match=words):
            doubts.decide_applied(
                operation_id=lost.operation_id, row_id=row_id, actor="lee", reason="a guess"
            )
    with pytest.raises(CommandError, match="is not in doubt"):
        command("decide", str(earned.id), "--not-applied", "--reason", "a mistake")
    assert Operation.objects.get(id=lost.operation_id).state == "in_doubt"
