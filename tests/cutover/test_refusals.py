"""Refusals are outcomes: the key gives the same again, whatever became of the account or of the legacy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cutover import face
from ledger import errors
from ledger.models import AccountStatus, Operation
from tests.cutover.legacy_calls import rows_of
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number
from tests.legacy_bridge.proxied import connecting_to

pytestmark = pytest.mark.usefixtures("legacy_only")

#: Nobody listens there.
AWAY = "postgresql://nobody:nothing@127.0.0.1:1/nowhere"


@pytest.fixture
def mine(legacy_only: Any) -> dict[str, Any]:
    given = {"client_id": ClientFactory().id, "account_number": account_number()}
    face.execute(EarnFactory(**given, points=100))
    return given


def block(given: dict[str, Any], status: AccountStatus = AccountStatus.BLOCKED) -> None:
    face.change_account_status(
        account_number=given["account_number"], status=status, note="asked", actor="support"
    )


def not_enough(given: dict[str, Any]) -> Any:
    return SpendFactory(**given, points=101)


def blocked(given: dict[str, Any]) -> Any:
    block(given)
    return SpendFactory(**given, points=1)


def not_cancellable_here(given: dict[str, Any]) -> Any:
    spent = face.execute(SpendFactory(**given, points=10)).operation
    return CancelFactory(client_id=given["client_id"], cancelled_operation_id=spent.id, points=11)


def already_spent(given: dict[str, Any]) -> Any:
    earned = face.execute(EarnFactory(**given, points=10)).operation
    face.execute(SpendFactory(**given, points=105))
    return CancelFactory(client_id=given["client_id"], cancelled_operation_id=earned.id)


@pytest.mark.parametrize(
    ("prepare", "refusal"),
    [
        (not_enough, errors.InsufficientPoints),
        (blocked, errors.AccountBlocked),
        (not_cancellable_here, errors.NotCancellable),
        (already_spent, errors.EarnAlreadySpent),
    ],
    ids=lambda value: value.__name__,
)
def test_a_refusal_is_replayed_as_it_was_also_without_the_legacy(
    mine: dict[str, Any], prepare: Callable[..., Any], refusal: type[errors.Refusal]
) -> None:
    command = prepare(mine)
    before = rows_of(mine["account_number"])

    with pytest.raises(refusal) as first:
        face.execute(command)
    with pytest.raises(refusal) as again:
        face.execute(command)
    with connecting_to(AWAY), pytest.raises(refusal) as without:
        face.execute(command)

    told = {(str(each.value.to_json()), each.value.operation_id) for each in (first, again, without)}
    assert told == {(str(first.value.to_json()), command.operation_id)}
    replayed = [each.value.is_replayed for each in (first, again, without)]
    assert replayed == [False, True, True]
    assert Operation.objects.get(id=command.operation_id).state == "failed"
    assert rows_of(mine["account_number"]) == before


def test_a_blocked_account_keeps_its_points_and_takes_its_cancels(mine: dict[str, Any]) -> None:
    spent = face.execute(SpendFactory(**mine, points=10)).operation
    block(mine)

    for command in (SpendFactory(**mine, points=1), EarnFactory(**mine, points=1)):
        with pytest.raises(errors.AccountBlocked):
            face.execute(command)
    cancel = CancelFactory(client_id=mine["client_id"], cancelled_operation_id=spent.id)
    assert face.execute(cancel).operation.balance_after == 100

    block(mine, AccountStatus.OPEN)
    assert face.execute(SpendFactory(**mine, points=1)).operation.balance_after == 99


def test_an_account_that_only_the_legacy_knows_can_be_blocked(mine: dict[str, Any]) -> None:
    unseen = {"client_id": mine["client_id"], "account_number": account_number()}
    block(unseen)
    with pytest.raises(errors.AccountBlocked):
        face.execute(EarnFactory(**unseen, points=5))
    assert rows_of(unseen["account_number"]) == []


def test_without_the_legacy_nothing_is_noted_and_nothing_is_made_up(mine: dict[str, Any]) -> None:
    spend = SpendFactory(**mine, points=10)
    with connecting_to(AWAY):
        for ask in (
            lambda: face.execute(spend),
            lambda: face.balance(account_number=mine["account_number"]),
            lambda: face.history_page(account_number=mine["account_number"]),
            lambda: face.lots_page(account_number=mine["account_number"]),
        ):
            with pytest.raises(errors.PrimaryUnavailable):
                ask()
        assert not Operation.objects.filter(id=spend.operation_id).exists()
    assert face.execute(spend).operation.balance_after == 90
