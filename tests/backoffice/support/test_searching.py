"""One field finds accounts and operations, each by an index of its own."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.urls import reverse

from pointsystem.backoffice.support.searching import (
    MOST_HITS,
    STATEMENTS,
    AccountHit,
    OperationHit,
    parameters,
    search,
)
from tests.backoffice.support.people import signed_in, text_of
from tests.ledger.member import Member

_ACCOUNTS = """
INSERT INTO ledger_account (account_number, opened_at, status, sequence, balance, outstanding_debt,
    last_recorded_at)
SELECT %(mark)s || number, now(), 'open', 0, 0, 0, now() FROM generate_series(1, %(count)s) AS number
"""
_OPERATIONS = """
INSERT INTO ledger_operation (id, client_id, idempotency_key, fingerprint, kind, state, account_number,
    points, reference, recorded_at, refusal)
SELECT gen_random_uuid(), (SELECT min(id) FROM ledger_client), %(mark)s || 'key-' || number, '\\x00', 'spend',
    'failed', %(mark)s || number %% 1000, 1, %(mark)s || 'order-' || number, now(), '{}'
FROM generate_series(1, %(count)s) AS number
"""


def fill(mark: str, *, accounts: int, operations: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '120s'")
        cursor.execute(_ACCOUNTS, {"mark": mark, "count": accounts})
        cursor.execute(_OPERATIONS, {"mark": mark, "count": operations})


def plan_of(name: str, given: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        # What the planner could do at all, whatever statistics say of tables just filled.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + STATEMENTS[name], given)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_an_account_is_found_by_its_number_and_by_its_beginning(member: Member) -> None:
    member.earns(10)

    assert search(term=f" {member.number} ").only == AccountHit(account_number=member.number, status="open")
    assert search(term=member.number[:-1]).accounts[0].account_number == member.number


def test_a_whole_number_wins_over_longer_ones_that_begin_with_it(member: Member) -> None:
    member.earns(10)
    longer = Member()
    longer.number = f"{member.number}1"
    longer.earns(10)

    assert search(term=member.number).only == AccountHit(account_number=member.number, status="open")
    assert len(search(term=member.number[:-1]).accounts) == 2


def test_an_operation_is_found_by_its_id_its_key_and_its_reference(member: Member) -> None:
    reference, key = f"order-{uuid4().hex}", f"key-{uuid4().hex}"
    operation = member.earns(10, reference=reference, idempotency_key=key)

    for term in (str(operation.id), key, reference):
        only = search(term=term).only
        assert isinstance(only, OperationHit)
        assert (only.id, only.account_number, only.points) == (operation.id, member.number, 10)


def test_a_lot_is_found_by_its_id(member: Member) -> None:
    lots = member.earns(10).lots or []

    assert search(term=str(lots[0].lot)).only == lots[0].lot


def test_operations_of_all_clients_are_found_by_one_reference(member: Member) -> None:
    reference = f"order-{uuid4().hex}"
    member.earns(10, reference=reference)
    Member().earns(20, reference=reference)

    found = search(term=reference)

    assert sorted(hit.points for hit in found.operations) == [10, 20]
    assert found.only is None


def test_more_hits_than_a_page_holds_are_said_to_be_there(db: None) -> None:
    mark = f"m{uuid4().hex[:8]}-"
    fill(mark, accounts=MOST_HITS + 1, operations=1)

    found = search(term=mark)

    assert (len(found.accounts), found.has_more) == (MOST_HITS, True)


@pytest.mark.parametrize(
    "term", ["", "  ", "\x00", "no-such", "%", "'; DROP TABLE ledger_entry --", "한" * 200]
)
def test_what_is_nowhere_finds_nothing(db: None, term: str) -> None:
    found = search(term=term)

    assert (list(found.accounts), list(found.operations), found.only) == ([], [], None)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("prefix", "account_number_is_unique"),
        ("operation", "ledger_operation_pkey"),
        ("key", "operation_key_is_unique_per_client"),
        ("reference", "operation_by_reference"),
        ("lot", "ledger_lot_pkey"),
    ],
)
def test_each_way_to_search_has_its_index(db: None, name: str, index: str) -> None:
    plan = plan_of(name, {**parameters("m-1"), "id": uuid4()})

    assert index in plan
    assert "Seq Scan on ledger_operation" not in plan
    assert "Seq Scan on ledger_account" not in plan


def test_the_only_hit_is_gone_to_at_once(member: Member, supporter: User) -> None:
    operation = member.earns(10)
    browser = signed_in(supporter)
    address = reverse("admin:support_search")

    to_account = browser.get(address, {"q": member.number})
    to_operation = browser.get(address, {"q": str(operation.id)})
    nothing = browser.get(address, {"q": "nobody-has-this"})

    assert to_account["Location"] == reverse("admin:support_account", args=[member.number])
    assert to_operation["Location"] == reverse("admin:support_operation", args=[operation.id])
    assert "Nothing is called “nobody-has-this”" in text_of(nothing)
