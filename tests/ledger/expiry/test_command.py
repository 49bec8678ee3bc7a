from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.ledger.member import NOON, Member, days_later


def expire_points(*arguments: str) -> str:
    out = StringIO()
    call_command("expire_points", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_it_posts_what_lapsed_and_says_how_much(member: Member) -> None:
    member.earns(3, expires_at=NOON + timedelta(days=1))
    member.earns(4, expires_at=NOON + timedelta(days=2))
    days_later(2)

    assert expire_points("--as-of", (NOON + timedelta(days=1)).isoformat()) == (
        "3 points of 1 lots expired on 1 accounts\n"
    )
    assert expire_points() == "4 points of 1 lots expired on 1 accounts\n"
    assert expire_points() == "0 points of 0 lots expired on 0 accounts\n"
    assert member.history[2:] == [("expire", -3, 4), ("expire", -4, 0)]


@pytest.mark.parametrize("as_of", ["tomorrow", "2026-03-01", "2026-03-01T00:00:00", "2027-01-01T00:00:00Z"])
def test_wrong_use_ends_with_2_and_posts_nothing(member: Member, as_of: str) -> None:
    member.earns(3, expires_at=NOON + timedelta(days=1))
    days_later(2)

    with pytest.raises(CommandError) as caught:
        expire_points("--as-of", as_of)

    assert caught.value.returncode == 2
    assert len(member.history) == 1
