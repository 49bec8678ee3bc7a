from ledger.errors import InsufficientPoints, ValidationRefused
from tests.ledger.member import Member, refusal_of


def test_a_correction_upwards_is_a_lot(member: Member) -> None:
    adjusted = member.is_adjusted(30, actor="agent", expires_at=None)

    assert (adjusted.kind, adjusted.points, adjusted.balance_after) == ("adjust", 30, 30)
    assert member.lots == [(30, 30)]
    assert member.history == [("adjust", 30, 30)]


def test_a_correction_downwards_is_taken_like_a_spend(member: Member) -> None:
    member.earns(10)

    adjusted = member.is_adjusted(-4)

    assert (adjusted.points, adjusted.balance_after) == (-4, 6)
    assert member.history[-1] == ("adjust", -4, 6)


def test_a_correction_never_makes_a_balance_negative(member: Member) -> None:
    member.earns(3)

    assert isinstance(refusal_of(member.is_adjusted, -4), InsufficientPoints)
    assert isinstance(refusal_of(member.is_adjusted, 0), ValidationRefused)
    assert member.available == 3
