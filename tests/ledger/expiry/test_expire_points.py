from datetime import timedelta

from ledger import clock, expiry
from ledger.errors import ValidationRefused
from ledger.models import Operation
from tests.ledger.member import NOON, Member, days_later, refusal_of, traces


def test_all_that_lapsed_is_one_entry_per_account_and_run(member: Member) -> None:
    friend = Member()
    member.earns(1, expires_at=NOON + timedelta(days=1))
    member.earns(2, expires_at=NOON + timedelta(days=2))
    member.earns(4, expires_at=NOON + timedelta(days=3))
    friend.earns(8, expires_at=NOON + timedelta(days=1))
    days_later(2)

    run = expiry.expire_points()

    assert (run.accounts, run.lots, run.points) == (2, 3, 11)
    assert member.history[-1] == ("expire", -3, 4)
    assert friend.history[-1] == ("expire", -8, 0)
    operation = Operation.objects.get(account_number=member.number, kind="expire")
    assert (operation.points, operation.balance_after, operation.client.name) == (3, 4, "system")
    assert [
        (allocation.position, allocation.points)
        for allocation in operation.entries.get().allocations.order_by("position")
    ] == [(0, -1), (1, -2)]


def test_running_again_changes_nothing(member: Member) -> None:
    member.earns(1, expires_at=NOON + timedelta(days=1))
    days_later(1)
    expiry.expire_points()
    before = traces(member.number)

    run = expiry.expire_points()

    assert (run.accounts, run.lots, run.points) == (0, 0, 0)
    assert traces(member.number) == before


def test_small_batches_come_to_the_same(member: Member) -> None:
    for days in range(1, 8):
        member.earns(days, expires_at=NOON + timedelta(days=days))
    days_later(7)

    run = expiry.expire_points(batch_lots=2)

    assert (run.accounts, run.points) == (1, 28)
    assert member.history[-1] == ("expire", -28, 0)


def test_as_of_leaves_what_lapsed_after_it(member: Member) -> None:
    member.earns(1, expires_at=NOON + timedelta(days=1))
    member.earns(2, expires_at=NOON + timedelta(days=2))
    days_later(5)

    run = expiry.expire_points(as_of=NOON + timedelta(days=1))

    assert run.points == 1
    assert member.available == 0
    assert member.history[-1] == ("expire", -1, 2)
    assert expiry.expire_points().points == 2


def test_the_future_is_refused(noon: object) -> None:
    refusal = refusal_of(expiry.expire_points, as_of=clock.now() + timedelta(seconds=1))

    assert isinstance(refusal, ValidationRefused)


def test_after_it_the_next_expiry_is_the_next_lots(member: Member) -> None:
    member.earns(1, expires_at=NOON + timedelta(days=1))
    member.earns(2, expires_at=NOON + timedelta(days=2))
    days_later(1)
    expiry.expire_points()
    days_later(1)

    spent_nothing = refusal_of(member.spends, 1)

    assert spent_nothing.code == "insufficient_points"
    assert member.history[-1] == ("expire", -2, 0)
