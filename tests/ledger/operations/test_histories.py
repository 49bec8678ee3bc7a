"""Whole histories of accounts that were never here: posted as they are told, or not at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from ledger import locks
from ledger.clients import legacy_client_id
from ledger.database import violated_constraint
from ledger.models import Account, Allocation, Entry, Lot, OpenLot, Operation
from ledger.operations import histories
from ledger.operations.histories import History, Past
from ledger.verification import verify
from tests.factories import account_number

pytestmark = pytest.mark.django_db

FIRST = datetime(2026, 1, 10, 9, tzinfo=UTC)
LAPSES = FIRST + timedelta(days=30)


def past(kind: str, points: int, *shares: tuple[str, int], day: int = 0, **named: Any) -> Past:
    told = {"reason_id": None, "reference": None, "cancels_id": None, "balance_after": None, **named}
    return Past(
        operation_id=str(uuid4()),
        entry_id=str(uuid4()),
        kind=kind,
        points=points,
        recorded_at=FIRST + timedelta(days=day),
        shares=shares,
        counterpart_id=uuid4().hex,
        **told,
    )


def life(*facts: Past, lots: tuple[str, ...], number: str = "") -> History | None:
    return histories.follow(number or account_number(), facts, expiries=dict.fromkeys(lots, LAPSES))


def write(*found: History | None) -> None:
    each = [history for history in found if history is not None]
    with transaction.atomic():
        histories.adopt(each, client_id=legacy_client_id())
        histories.post(each)


def test_an_earning_a_spend_and_what_came_back() -> None:
    lot, number = str(uuid4()), account_number()
    earn = past("earn", 100, (lot, 100))
    spend = past("spend", -70, (lot, 70), day=1, reference="back\\slash\ttab\nline", balance_after=30)
    cancel = past("spend_cancel", 20, (lot, 20), day=2, cancels_id=spend.operation_id)
    write(life(earn, spend, cancel, lots=(lot,), number=number))

    account = Account.objects.get(account_number=number)
    assert (account.sequence, account.balance, account.next_expiry_at) == (3, 50, LAPSES)
    assert (account.opened_at, account.last_recorded_at) == (FIRST, FIRST + timedelta(days=2))
    entries = Entry.objects.filter(account=account).order_by("sequence")
    assert list(entries.values_list("kind", "points", "balance_after")) == [
        ("earn", 100, 100),
        ("spend", -70, 30),
        ("spend_cancel", 20, 50),
    ]
    assert list(
        Allocation.objects.filter(lot_id=lot).values_list("points", flat=True).order_by("points")
    ) == [
        -70,
        20,
        100,
    ]
    assert OpenLot.objects.get(lot_id=lot).remaining == 50
    operation = Operation.objects.get(id=spend.operation_id)
    assert (operation.reference, operation.balance_after) == ("back\\slash\ttab\nline", 30)
    assert bytes(operation.fingerprint) == b""
    assert operation.shares == [[lot, 70, LAPSES.isoformat()]]
    assert str(Operation.objects.get(id=cancel.operation_id).cancels_id) == spend.operation_id
    assert [breach.sentence() for breach in verify(examples=3, say=lambda text: None).breaches] == []


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param([("earn", 100, ("a", 60), ("b", 40))], id="an earning of two lots"),
        pytest.param([("earn", 100, ("a", 90))], id="shares that do not add up"),
        pytest.param([("earn", 100, ("a", 100)), ("earn", 5, ("a", 5))], id="a lot that is granted twice"),
        pytest.param([("earn", 100, ("a", 100)), ("spend", -101, ("a", 101))], id="more than was there"),
        pytest.param([("spend", -1, ("a", 1))], id="a lot that nothing granted"),
        pytest.param([("earn", 9, ("a", 9)), ("spend_cancel", 1, ("a", 1))], id="more than the lot granted"),
        pytest.param([("earn", 9, ("a", 9)), ("adjust", -1, ("a", 1))], id="an adjust"),
        pytest.param([("earn", 9, ("a", 9)), ("spend", 0)], id="a movement of nothing"),
        pytest.param([("earn", 9, ("a", 9)), ("expire", 3, ("a", 3))], id="the wrong sign"),
        pytest.param([("earn", 9, ("unknown", 9))], id="a lot that is not kept"),
    ],
)
def test_what_cannot_be_posted_as_it_is_told_is_nobodys_history(facts: list[Any]) -> None:
    assert life(*(past(*fact) for fact in facts), lots=("a", "b")) is None


def test_a_spend_from_a_lot_that_had_lapsed_is_looked_at_with_care() -> None:
    earn, late = past("earn", 9, ("a", 9)), past("spend", -9, ("a", 9), day=30)
    assert life(earn, late, lots=("a",)) is None
    assert life(earn, past("expire", -9, ("a", 9), day=30), lots=("a",)) is not None


def test_an_account_that_is_open_already_is_refused_and_nothing_is_written() -> None:
    lot, number = str(uuid4()), account_number()
    locks.open_accounts([number], now=FIRST)
    history = life(past("earn", 100, (lot, 100)), lots=(lot,), number=number)
    with pytest.raises(IntegrityError) as refused:
        write(history)
    assert violated_constraint(refused.value) == "account_number_is_unique"
    assert not Operation.objects.filter(account_number=number).exists()
    assert not Lot.objects.filter(id=lot).exists()


def test_a_row_that_is_an_operation_already_is_refused_and_nothing_is_written() -> None:
    first, second, number = str(uuid4()), str(uuid4()), account_number()
    earn = past("earn", 100, (first, 100))
    write(life(earn, lots=(first,)))
    with pytest.raises(IntegrityError) as refused:
        write(life(past("earn", 5, (second, 5)), earn, lots=(first, second), number=number))
    assert violated_constraint(refused.value) == "ledger_operation_pkey"
    assert not Account.objects.filter(account_number=number).exists()


def test_an_account_without_a_history_is_not_opened() -> None:
    number = account_number()
    write(life(lots=(), number=number))
    assert not Account.objects.filter(account_number=number).exists()
