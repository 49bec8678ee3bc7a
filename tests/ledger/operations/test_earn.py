from datetime import UTC, datetime, timedelta

import pytest

from ledger import operations
from ledger.errors import AccountBlocked, IdempotencyKeyReused, ValidationRefused
from ledger.models import Account, AccountStatus, Operation
from ledger.records import LotShare
from tests.factories import EarnFactory, ReasonFactory
from tests.ledger.member import NOON, Member, days_later, refusal_of, traces


def test_the_first_earn_opens_the_account_and_grants_a_lot(member: Member) -> None:
    earned = member.earns(120, reference="order-1", metadata={"shop": 7})

    assert earned.points == 120
    assert (earned.kind, earned.state, earned.balance_after, earned.cancellable_points) == (
        "earn",
        "completed",
        120,
        120,
    )
    assert earned.recorded_at == NOON
    # 365 days after 1 March 2026, to the end of that day in Seoul.
    assert [(share.points, share.expires_at) for share in earned.lots or []] == [
        (120, datetime(2027, 3, 1, 15, 0, tzinfo=UTC))
    ]
    assert member.available == 120
    assert member.history == [("earn", 120, 120)]


def test_points_given_without_an_end_never_expire(member: Member) -> None:
    earned = member.earns(5, expires_at=None)

    assert [share.expires_at for share in earned.lots or []] == [None]
    days_later(3650)
    assert member.available == 5


def test_the_clients_own_expiry_is_kept_to_the_instant(member: Member) -> None:
    at = NOON + timedelta(days=10, seconds=1)

    earned = member.earns(5, expires_at=at)

    assert [share.expires_at for share in earned.lots or []] == [at]


def test_a_reason_without_rounding_counts_from_the_instant(member: Member) -> None:
    reason = ReasonFactory(policy__validity_days=2)

    earned = member.earns(5, reason=reason.code)

    assert [share.expires_at for share in earned.lots or []] == [NOON + timedelta(days=2)]


def test_the_same_key_gives_the_first_outcome_again(member: Member) -> None:
    command = EarnFactory(
        client_id=member.client_id, account_number=member.number, metadata={"a": 1, "b": "x"}
    )
    first = operations.execute(command)
    member.earns(1)
    before = traces(member.number)

    again = operations.execute(EarnFactory(**_body(command)))

    assert again.is_replayed
    assert not first.is_replayed
    assert again.operation == first.operation
    assert traces(member.number) == before


def test_the_same_key_replays_after_its_own_expiry_has_passed(member: Member) -> None:
    command = EarnFactory(
        client_id=member.client_id, account_number=member.number, expires_at=NOON + timedelta(days=1)
    )
    first = operations.execute(command)
    days_later(2)

    again = operations.execute(EarnFactory(**_body(command)))

    assert again.operation == first.operation


def test_the_same_key_with_another_body_is_refused(member: Member) -> None:
    command = EarnFactory(client_id=member.client_id, account_number=member.number)
    operations.execute(command)
    before = traces(member.number)

    refusal = refusal_of(operations.execute, EarnFactory(**_body(command) | {"points": 101}))

    assert isinstance(refusal, IdempotencyKeyReused)
    assert traces(member.number) == before


def test_the_key_belongs_to_one_client(member: Member) -> None:
    command = EarnFactory(client_id=member.client_id, account_number=member.number)
    operations.execute(command)
    other = Member()

    again = operations.execute(EarnFactory(**_body(command) | {"client_id": other.client_id}))

    assert not again.is_replayed
    assert member.available == 200


@pytest.mark.parametrize(
    ("values", "field", "field_code"),
    [
        ({"reason": "NO_SUCH"}, "reason", "unknown_reason"),
        ({"reason": "ORDER_PAYMENT"}, "reason", "reason_not_allowed"),
        ({"expires_at": NOON}, "expires_at", "in_the_past"),
        ({"expires_at": NOON - timedelta(seconds=1)}, "expires_at", "in_the_past"),
        ({"expires_at": NOON + timedelta(days=3654)}, "expires_at", "too_far_ahead"),
        ({"occurred_at": NOON + timedelta(minutes=5, seconds=1)}, "occurred_at", "too_far_ahead"),
        ({"occurred_at": NOON - timedelta(days=3654)}, "occurred_at", "too_far_back"),
    ],
)
def test_what_only_the_ledger_can_judge_is_refused_and_the_key_stays_free(
    member: Member, values: dict[str, object], field: str, field_code: str
) -> None:
    command = EarnFactory(client_id=member.client_id, account_number=member.number, **values)

    refusal = refusal_of(operations.execute, command)

    assert isinstance(refusal, ValidationRefused)
    assert (refusal.field, refusal.field_code) == (field, field_code)
    assert traces(member.number) == (0, 0, 0, 0)
    assert not Operation.objects.filter(idempotency_key=command.idempotency_key).exists()


def test_a_reason_that_was_switched_off_is_unknown(member: Member) -> None:
    reason = ReasonFactory(is_active=False)

    refusal = refusal_of(member.earns, 5, reason=reason.code)

    assert isinstance(refusal, ValidationRefused)


@pytest.mark.parametrize("status", [AccountStatus.BLOCKED, AccountStatus.CLOSED])
def test_an_account_that_is_not_open_earns_nothing(member: Member, status: AccountStatus) -> None:
    member.earns(10)
    operations.change_account_status(account_number=member.number, status=status, note="test", actor="a")
    before = traces(member.number)
    command = EarnFactory(client_id=member.client_id, account_number=member.number)

    refusal = refusal_of(operations.execute, command)

    assert isinstance(refusal, AccountBlocked)
    assert traces(member.number) == before
    # The refusal is the outcome: it comes again, even after the account is open.
    if status == AccountStatus.BLOCKED:
        operations.change_account_status(
            account_number=member.number, status=AccountStatus.OPEN, note="test", actor="a"
        )
    again = refusal_of(operations.execute, EarnFactory(**_body(command)))
    assert isinstance(again, AccountBlocked)
    assert (again.is_replayed, again.operation_id, again.detail) == (
        True,
        refusal.operation_id,
        refusal.detail,
    )


def test_what_lapsed_is_posted_before_the_next_earn(member: Member) -> None:
    member.earns(10, expires_at=NOON + timedelta(days=1))
    days_later(1)

    earned = member.earns(5)

    assert earned.balance_after == 5
    assert member.history == [("earn", 10, 10), ("expire", -10, 0), ("earn", 5, 5)]


def test_both_ways_of_earning_write_the_same(member: Member) -> None:
    """The first earn opens the account and takes the general way, the second the short one."""
    slow = member.earns(10, expires_at=None, reference="r", occurred_at=NOON, metadata={"a": True})

    quick = member.earns(10, expires_at=None, reference="r", occurred_at=NOON, metadata={"a": True})

    later = NOON + timedelta(microseconds=1)
    first, second = _row(slow.id), _row(quick.id)
    assert [row.pop("recorded_at") for row in (first, second)] == [NOON, later]
    assert [row.pop("entry") for row in (first, second)] == [
        ("earn", 10, NOON, 0, 10),
        ("earn", 10, later, 0, 10),
    ]
    assert [row.pop("earned_at") for row in (first, second)] == [NOON, later]
    assert second == first | {"balance_after": 20}
    assert quick.lots == [LotShare(lot=(quick.lots or [])[0].lot, points=10, expires_at=None)]


def _row(operation_id: object) -> dict[str, object]:
    operation = Operation.objects.get(id=operation_id)
    (entry,) = operation.entries.all()
    (allocation,) = entry.allocations.all()
    lot = allocation.lot
    columns = ("kind", "state", "points", "reason_id", "reference", "occurred_at", "recorded_at", "metadata")
    return {name: getattr(operation, name) for name in columns} | {
        "balance_after": operation.balance_after,
        "fingerprint": bytes(operation.fingerprint),
        "entry": (entry.kind, entry.points, entry.recorded_at, allocation.position, allocation.points),
        "earned_at": lot.earned_at,
        "lot": (
            lot.points,
            lot.expires_at,
            lot.reason_id,
            lot.policy_id,
            lot.open_lot.remaining,
        ),
    }


def _body(command: object) -> dict[str, object]:
    names = [name for name in command.__dataclass_fields__ if name != "operation_id"]  # type: ignore[attr-defined]
    return {name: getattr(command, name) for name in names}


def test_an_earn_that_is_refused_opens_no_account(member: Member) -> None:
    refusal = refusal_of(member.earns, 10, reason="UNHEARD_OF")

    assert refusal.code == "validation_failed"
    assert not Account.objects.filter(account_number=member.number).exists()
