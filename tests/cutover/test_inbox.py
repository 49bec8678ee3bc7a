"""What was accepted while the legacy decides: one account's trouble is not another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cutover import face, inbox, intents, settling, situation, wrapped
from ledger import errors
from ledger.models import InboxItem, Operation
from legacy_bridge import errors as bridge
from legacy_bridge import giving
from tests.cutover.legacy_calls import call_directly, lose_answer, rows_of
from tests.factories import CancelFactory, ClientFactory, EarnFactory, SpendFactory, account_number

pytestmark = pytest.mark.usefixtures("legacy_only")


@pytest.fixture
def accepted(legacy_only: Any) -> list[Any]:
    """Two earns on each of five accounts, in the inbox."""
    client_id = ClientFactory().id
    numbers = [account_number() for _ in range(5)]
    commands = [
        EarnFactory(client_id=client_id, account_number=number, points=points)
        for points in (10, 20)
        for number in numbers
    ]
    for command in commands:
        assert face.accept(command).operation.state == "accepted"
    return commands


def numbers_of(commands: list[Any]) -> list[str]:
    return list(dict.fromkeys(command.account_number for command in commands))


def test_what_was_accepted_is_done_in_order(accepted: list[Any]) -> None:
    assert face.drain_inbox(account_numbers=numbers_of(accepted)) == 10
    for number in numbers_of(accepted):
        assert [points for _, points, _ in rows_of(number)] == [10, 20]
        assert not InboxItem.objects.filter(account_number=number).exists()


def test_an_account_that_cannot_be_drained_stops_no_other(
    accepted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, numbers = wrapped.execute, numbers_of(accepted)

    def stumbles(command: Any, **more: Any) -> Any:
        if command.account_number == numbers[0]:
            raise RuntimeError("nobody thought of this")
        return real(command, **more)

    monkeypatch.setattr(wrapped, "execute", stumbles)
    assert face.drain_inbox(account_numbers=numbers) == 8
    assert InboxItem.objects.filter(account_number=numbers[0]).count() == 2


def test_a_legacy_that_is_away_is_not_asked_for_every_account(
    accepted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def away(*arguments: Any) -> None:
        asked.append(arguments)
        raise bridge.NotDone("The legacy does not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(giving, "give", away)
        assert face.drain_inbox(account_numbers=numbers_of(accepted)) == 0
    assert len(asked) == inbox._FAILURES_OF_ONE_CAUSE
    states = Operation.objects.filter(id__in=[command.operation_id for command in accepted])
    assert set(states.values_list("state", flat=True)) == {"accepted"}
    assert face.drain_inbox(account_numbers=numbers_of(accepted)) == 10


def test_what_comes_after_waits_for_what_was_accepted(
    accepted: list[Any], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.POINTS_LOCK_TIMEOUT_SECONDS = 0.1
    first, number = accepted[0], accepted[0].account_number
    mine = {"client_id": first.client_id, "account_number": number}
    lose_answer(monkeypatch, done=True)

    # The earn joins what waits, and is not told the fate of another operation.
    later = face.execute(EarnFactory(**mine, points=30)).operation
    assert (later.state, Operation.objects.get(id=first.operation_id).state) == ("accepted", "pending")
    with pytest.raises(errors.AccountBusy):
        face.execute(SpendFactory(**mine, points=1))

    settling.settle_due()
    assert face.execute(SpendFactory(**mine, points=1)).operation.balance_after == 59
    assert [points for _, points, _ in rows_of(number)] == [10, 20, 30, -1]


def test_what_is_refused_when_its_turn_comes_has_failed(accepted: list[Any]) -> None:
    first = accepted[0]
    mine = {"client_id": first.client_id, "account_number": first.account_number}
    face.drain_inbox(account_numbers=[first.account_number])
    earned = Operation.objects.get(id=first.operation_id)
    cancel = CancelFactory(client_id=first.client_id, cancelled_operation_id=earned.id)
    assert face.accept(cancel).operation.state == "accepted"
    # Spent past the API meanwhile.
    call_directly("PR_POINT_USE", mine["account_number"], "21", 25)
    assert face.drain_inbox(account_numbers=[first.account_number]) == 1
    with pytest.raises(errors.EarnAlreadySpent):
        face.execute(cancel)


# --- two drainers of one account ----------------------------------------------------------------------------
def test_what_another_drainer_has_done_meanwhile_is_not_given_again(accepted: list[Any]) -> None:
    first = accepted[0]
    item = InboxItem.objects.get(operation_id=first.operation_id)
    read_before = situation.read(first)
    wrapped.execute(first, accepted_at=item.accepted_at)

    assert wrapped._attempt(first, read_before, accepted_at=item.accepted_at) is None

    assert [points for _, points, _ in rows_of(first.account_number)] == [10]
    assert inbox.drain_account(first.account_number) == 2
    assert [points for _, points, _ in rows_of(first.account_number)] == [10, 20]


def test_what_another_drainer_has_done_meanwhile_is_not_refused_any_more(accepted: list[Any]) -> None:
    first = accepted[0]
    face.drain_inbox(account_numbers=[first.account_number])
    cancel = CancelFactory(client_id=first.client_id, cancelled_operation_id=first.operation_id)
    face.accept(cancel)
    item = InboxItem.objects.get(operation_id=cancel.operation_id)
    read_before = situation.read(cancel)
    wrapped.execute(cancel, accepted_at=item.accepted_at)
    # Read now, there is nothing left to cancel; but the cancel is what took it.
    again = replace(situation.read(cancel), known=read_before.known)

    assert wrapped._attempt(cancel, again, accepted_at=item.accepted_at) is None
    with pytest.raises(intents.TakenOver):
        intents.end_accepted(operation_id=cancel.operation_id, refusal={"code": "not_cancellable"})

    assert Operation.objects.get(id=cancel.operation_id).state == "completed"
    assert inbox.drain_account(first.account_number) == 1
