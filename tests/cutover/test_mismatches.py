"""Differences are seen once, resolved by a person with a reason, or by the next look."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from cutover import mismatches
from cutover.mismatches import Found, NotResolved
from cutover.models import Difference, FoundBy, Mismatch
from tests.factories import account_number

pytestmark = pytest.mark.django_db


def difference(number: str, subject: str = "balance") -> Found:
    return Found(
        account_number=number, subject=subject, difference=Difference.REAL, legacy=1, ledger=2, why="Why."
    )


def noted(number: str) -> mismatches.Listed:
    mismatches.look(account_numbers=[number], found=[difference(number)], found_by=FoundBy.VERIFICATION)
    (listed,) = mismatches.listed(account_number=number)
    return listed


def test_the_same_difference_is_one_mismatch_however_often_it_is_seen() -> None:
    number = account_number()
    first, second = noted(number), noted(number)
    assert first.id == second.id
    assert second.seen_at >= first.seen_at


def test_a_look_resolves_what_it_does_not_find_and_only_its_own() -> None:
    number = account_number()
    noted(number)
    mismatches.look(account_numbers=[number], found=[difference(number)], found_by=FoundBy.SHADOW)
    gone = mismatches.look(account_numbers=[number], found=[], found_by=FoundBy.VERIFICATION)
    assert gone == 1
    assert [each.found_by for each in mismatches.listed(account_number=number)] == [FoundBy.SHADOW]


def test_what_was_resolved_is_found_anew_where_it_is_still_there() -> None:
    number = account_number()
    first = noted(number)
    assert mismatches.resolve(ids=[first.id], actor="ann", reason="looked into") == 1
    assert noted(number).id != first.id


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_nothing_is_resolved_without_a_reason(reason: str) -> None:
    found = noted(account_number())
    with pytest.raises(NotResolved):
        mismatches.resolve(ids=[found.id], actor="ann", reason=reason)
    assert Mismatch.objects.get(id=found.id).resolved_at is None


def test_of_several_all_are_resolved_or_none() -> None:
    found = noted(account_number())
    with pytest.raises(NotResolved):
        mismatches.resolve(ids=[found.id, 0], actor="ann", reason="looked into")
    assert Mismatch.objects.get(id=found.id).resolved_at is None


def test_the_command_lists_and_resolves() -> None:
    number = account_number()
    found = noted(number)
    out = StringIO()
    call_command("mismatch", "list", "--account", number, "--json", stdout=out)
    (told,) = json.loads(out.getvalue())
    assert (told["id"], told["legacy"], told["ledger"], told["difference"]) == (found.id, 1, 2, "real")
    call_command("mismatch", "resolve", str(found.id), "--reason=looked into", "--by=ann", stdout=out)
    assert mismatches.listed(account_number=number) == []
    (resolved,) = mismatches.listed(account_number=number, with_resolved=True)
    assert (resolved.resolved_by, resolved.resolution) == ("ann", "looked into")


def test_all_that_one_look_found_are_resolved_together() -> None:
    numbers = [account_number(), account_number()]
    for number in numbers:
        mismatches.look(account_numbers=[number], found=[difference(number)], found_by=FoundBy.MIGRATION)
    call_command("mismatch", "resolve", "--found-by=migration", "--reason=known flaws", stdout=StringIO())
    assert [mismatches.listed(account_number=number) for number in numbers] == [[], []]


def test_the_command_wants_ids_or_a_look() -> None:
    with pytest.raises(CommandError) as refused:
        call_command("mismatch", "resolve", "--reason=x")
    assert refused.value.returncode == 2
