"""`manage.py refresh_balances`."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.ledger.balances.conftest import OwnRedis
from tests.ledger.balances.steps import cached, is_marked_stale
from tests.ledger.member import Member


def refresh_balances(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("refresh_balances", *arguments, stdout=output, stderr=StringIO(), **options)
    return output.getvalue()


def test_named_accounts(member: Member, own_redis: OwnRedis) -> None:
    other = Member(client_id=member.client_id)
    member.earns(100)
    other.earns(100)
    assert refresh_balances(member.number) == "1 balances refreshed\n"
    assert cached(member.number) == ("value", 1, 100)
    assert cached(other.number) == ("tombstone", 1, None)


def test_stale_accounts(member: Member, own_redis: OwnRedis) -> None:
    member.earns(100)
    refresh_balances("--stale")
    assert cached(member.number) == ("value", 1, 100)
    assert not is_marked_stale(member.number)


def test_all_accounts(member: Member, own_redis: OwnRedis) -> None:
    member.earns(100)
    refresh_balances()
    own_redis.client().flushdb()
    assert int(refresh_balances().split()[0]) >= 1
    assert cached(member.number) == ("value", 1, 100)


def test_unknown_account_is_wrong_use(member: Member, own_redis: OwnRedis) -> None:
    member.earns(100)
    with pytest.raises(CommandError, match="nobody") as raised:
        refresh_balances(member.number, "nobody")
    assert raised.value.returncode == 2
    assert cached(member.number) == ("tombstone", 1, None)


def test_names_and_stale_together_are_wrong_use(own_redis: OwnRedis) -> None:
    with pytest.raises(CommandError) as raised:
        refresh_balances("m-1", "--stale")
    assert raised.value.returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--stale"]])
def test_without_redis_something_is_wrong(member: Member, own_redis: OwnRedis, arguments: list[str]) -> None:
    member.earns(100)
    own_redis.stop()
    with pytest.raises(CommandError, match="Redis does not answer") as raised:
        refresh_balances(*arguments)
    assert raised.value.returncode == 1
    assert is_marked_stale(member.number)
