"""What a client is answered while the legacy decides."""

from typing import Any

import pytest

from cutover import face, intents
from cutover.models import Intent
from ledger import errors
from ledger.database import fetch_all
from ledger.models import Operation
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture
def mine() -> dict[str, Any]:
    return {"client_id": ClientFactory().id, "account_number": account_number()}


def test_an_earn_a_spend_and_their_cancels(mine: dict[str, Any]) -> None:
    earned = face.execute(EarnFactory(**mine, points=100)).operation
    spent = face.execute(SpendFactory(**mine, points=70)).operation
    back = face.execute(
        CancelFactory(client_id=mine["client_id"], cancelled_operation_id=spent.id, points=20)
    ).operation

    assert (earned.state, earned.balance_after, earned.cancellable_points) == ("completed", 100, 100)
    assert (spent.balance_after, spent.lots[0].points, spent.lots[0].lot) == (30, 70, earned.lots[0].lot)
    assert (back.kind, back.balance_after, back.cancels) == ("spend_cancel", 50, spent.id)
    assert face.balance(account_number=mine["account_number"]).available == 50
    lines = face.history_page(account_number=mine["account_number"]).data
    assert [(line.kind, line.points, line.balance_after, line.operation_id) for line in lines] == [
        ("spend_cancel", 20, 50, back.id),
        ("spend", -70, 30, spent.id),
        ("earn", 100, 100, earned.id),
    ]
    assert Intent.objects.filter(account_number=mine["account_number"], state="done").count() == 3


def test_a_refusal_is_the_outcome_of_the_key(mine: dict[str, Any]) -> None:
    spend = SpendFactory(**mine, points=5)
    with pytest.raises(errors.InsufficientPoints) as first:
        face.execute(spend)
    face.execute(EarnFactory(**mine, points=100))
    with pytest.raises(errors.InsufficientPoints) as again:
        face.execute(spend)

    assert first.value.operation_id == again.value.operation_id == spend.operation_id
    assert (first.value.is_replayed, again.value.is_replayed) == (False, True)
    assert face.balance(account_number=mine["account_number"]).available == 100
    assert Operation.objects.get(id=spend.operation_id).state == "failed"


def test_an_outcome_that_can_be_asked_for_again_does_not_wait_for_the_disk(
    mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    before = fetch_all("SHOW synchronous_commit")
    settle = intents.fetch_in_savepoint

    def listening(statement: str, parameters: Any) -> Any:
        told.append(parameters["durability"])
        return settle(statement, parameters)

    monkeypatch.setattr(intents, "fetch_in_savepoint", listening)
    face.execute(EarnFactory(**mine, points=10))
    with pytest.raises(errors.InsufficientPoints):
        face.execute(SpendFactory(**mine, points=11))

    # The refusal must not come out otherwise when it is asked for again; and nothing stays set.
    assert told == ["off", "on"]
    assert fetch_all("SHOW synchronous_commit") == before
