from ledger import operations
from ledger.errors import IdempotencyKeyReused, InsufficientPoints, OperationNotFound
from ledger.records import Outcome
from tests.factories import CancelFactory, EarnFactory, SpendFactory, TransferFactory
from tests.ledger.member import Member


def test_items_of_one_account_are_done_in_order_each_with_its_own_effect(member: Member) -> None:
    friend = Member(client_id=member.client_id)
    mine = {"client_id": member.client_id, "account_number": member.number}

    results = operations.execute_all(
        [
            SpendFactory(**mine, points=1),
            EarnFactory(**mine, points=10),
            SpendFactory(**mine, points=4),
            SpendFactory(**mine, points=7),
            TransferFactory(
                client_id=member.client_id,
                from_account_number=member.number,
                to_account_number=friend.number,
                points=6,
            ),
            SpendFactory(client_id=member.client_id, account_number=friend.number, points=6),
        ]
    )

    assert [type(result) for result in results] == [
        InsufficientPoints,
        Outcome,
        Outcome,
        InsufficientPoints,
        Outcome,
        Outcome,
    ]
    assert member.history == [("earn", 10, 10), ("spend", -4, 6), ("transfer_out", -6, 0)]
    assert friend.history == [("transfer_in", 6, 6), ("spend", -6, 0)]


def test_a_key_twice_in_a_batch_is_refused_the_second_time(member: Member) -> None:
    mine = {"client_id": member.client_id, "account_number": member.number, "idempotency_key": "twice"}

    results = operations.execute_all([EarnFactory(**mine), EarnFactory(**mine)])

    assert [type(result) for result in results] == [Outcome, IdempotencyKeyReused]
    assert member.available == 100


def test_a_batch_sent_again_gives_the_first_outcomes(member: Member) -> None:
    mine = {"client_id": member.client_id, "account_number": member.number}
    values = [
        (EarnFactory, {**mine, "idempotency_key": "b-1", "points": 10}),
        (SpendFactory, {**mine, "idempotency_key": "b-2", "points": 20}),
        (SpendFactory, {**mine, "idempotency_key": "b-3", "points": 3}),
    ]
    first = operations.execute_all([make(**body) for make, body in values])

    again = operations.execute_all([make(**body) for make, body in values])

    assert [result.is_replayed for result in again] == [True, True, True]
    assert again[0].operation == first[0].operation  # type: ignore[union-attr]
    assert again[1].to_json() == first[1].to_json()  # type: ignore[union-attr]
    assert again[2].operation == first[2].operation  # type: ignore[union-attr]
    assert member.available == 7


def test_cancels_stand_in_their_place(member: Member) -> None:
    mine = {"client_id": member.client_id, "account_number": member.number}
    member.earns(10)
    spent = member.spends(10)

    results = operations.execute_all(
        [
            SpendFactory(**mine, points=3),
            CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=5),
            SpendFactory(**mine, points=3),
            CancelFactory(client_id=member.client_id, cancelled_operation_id=spent.id, points=6),
            CancelFactory(client_id=member.client_id + 1_000_000, cancelled_operation_id=spent.id),
        ][:4]
    )

    assert [getattr(result, "code", "ok") for result in results] == [
        "insufficient_points",
        "ok",
        "ok",
        "not_cancellable",
    ]
    assert member.available == 2


def test_an_unknown_target_is_an_answer_of_its_item_only(member: Member) -> None:
    results = operations.execute_all(
        [
            CancelFactory(
                client_id=member.client_id, cancelled_operation_id="00000000-0000-7000-8000-000000000000"
            ),
            EarnFactory(client_id=member.client_id, account_number=member.number),
        ]
    )

    assert [type(result) for result in results] == [OperationNotFound, Outcome]


def test_a_key_twice_in_a_batch_is_refused_also_behind_a_cancel(member: Member) -> None:
    """A cancel is a transaction of its own, so the two keys are looked at in different ones."""
    earned = member.earns(10)
    mine = {"client_id": member.client_id}
    twice = {**mine, "account_number": member.number, "idempotency_key": "twice", "points": 1}

    results = operations.execute_all(
        [
            SpendFactory(**twice),
            CancelFactory(**mine, cancelled_operation_id=earned.id, points=2),
            SpendFactory(**twice),
        ]
    )

    assert [type(result) for result in results] == [Outcome, Outcome, IdempotencyKeyReused]
    assert member.history == [("earn", 10, 10), ("spend", -1, 9), ("earn_cancel", -2, 7)]
