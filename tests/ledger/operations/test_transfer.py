from datetime import timedelta

from ledger import operations, queries
from ledger.errors import AccountBlocked, InsufficientPoints, ValidationRefused
from ledger.models import AccountStatus
from tests.factories import TransferFactory
from tests.ledger.member import NOON, Member, refusal_of, taken, traces


def test_a_gift_keeps_its_expiry_and_names_its_origin(member: Member) -> None:
    friend = Member()
    early = member.earns(10, expires_at=NOON + timedelta(days=1))
    never = member.earns(10, expires_at=None)

    given = member.gives(15, to=friend)

    assert (given.account_number, given.to_account_number, given.balance_after) == (
        member.number,
        friend.number,
        5,
    )
    assert [points for _, points in taken(given)] == [10, 5]
    page = queries.lots_page(account_number=friend.number).data
    assert [(lot.points, lot.remaining, lot.expires_at, lot.origin) for lot in page] == [
        (10, 10, NOON + timedelta(days=1), (early.lots or [])[0].lot),
        (5, 5, None, (never.lots or [])[0].lot),
    ]
    assert member.history[-1] == ("transfer_out", -15, 5)
    assert friend.history == [("transfer_in", 15, 15)]


def test_nobody_gives_more_than_there_is(member: Member) -> None:
    friend = Member()
    member.earns(10)
    friend.earns(1)
    before = traces(member.number), traces(friend.number)

    refusal = refusal_of(member.gives, 11, to=friend)

    assert isinstance(refusal, InsufficientPoints)
    assert (traces(member.number), traces(friend.number)) == before


def test_nobody_gives_to_oneself(member: Member) -> None:
    member.earns(10)

    refusal = refusal_of(member.gives, 1, to=member)

    assert isinstance(refusal, ValidationRefused)
    assert refusal.field == "to"


def test_neither_side_may_be_blocked(member: Member) -> None:
    friend = Member()
    member.earns(10)
    friend.earns(10)
    operations.change_account_status(
        account_number=friend.number, status=AccountStatus.BLOCKED, note="test", actor="a"
    )

    assert isinstance(refusal_of(member.gives, 1, to=friend), AccountBlocked)
    assert isinstance(refusal_of(friend.gives, 1, to=member), AccountBlocked)
    assert (member.available, friend.available) == (10, 10)


def test_the_same_key_gives_once(member: Member) -> None:
    friend = Member()
    member.earns(10)
    values = {
        "client_id": member.client_id,
        "idempotency_key": "gift",
        "from_account_number": member.number,
        "to_account_number": friend.number,
    }
    first = operations.execute(TransferFactory(**values))

    again = operations.execute(TransferFactory(**values))

    assert again.is_replayed
    assert again.operation == first.operation
    assert (member.available, friend.available) == (0, 10)
