"""The same request sent again with the same Idempotency-Key."""

import json
from collections.abc import Callable

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import World, cancel_path, earn_path, spend_path


def is_replay(first: Exchange, again: Exchange) -> None:
    """The same status, the same bytes, the same Location, and marked as a replay."""
    equal("status of the replay", again.status, first.status, again)
    equal("body of the replay", again.body, first.body, again)
    equal("Location of the replay", again.headers.get("location"), first.headers.get("location"), again)
    equal("Idempotency-Replayed", again.headers.get("idempotency-replayed"), "true", again)
    true("the first answer is no replay", "idempotency-replayed" not in first.headers, first)


def sent_twice(w: World, account: str, send: Callable[[str], Exchange]) -> None:
    key = w.key()
    first = send(key)
    w.done(first)
    with w.nothing_changes(account):
        is_replay(first, send(key))


@case()
def an_earn_sent_again_is_one_earn(w: World) -> None:
    """The same key gives the same bytes again, and the points are granted once."""
    account = w.account()
    sent_twice(w, account, lambda key: w.api.earn(account, 70, key=key))
    w.has(account, 70)


@case()
def a_spend_sent_again_is_one_spend(w: World) -> None:
    """The same key gives the same bytes again, and the points are taken once."""
    account = w.account_with(100)
    sent_twice(w, account, lambda key: w.api.spend(account, 70, key=key))
    w.has(account, 30)


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def a_cancel_sent_again_is_one_cancel(w: World) -> None:
    """The same key gives the same bytes again, and the points are given back once."""
    account = w.account_with(100)
    spent = w.spent(account, 70)
    sent_twice(w, account, lambda key: w.api.cancel(spent["id"], points=20, key=key))
    w.has(account, 50)


@case()
def the_first_outcome_comes_whatever_happened_since(w: World) -> None:
    """A replay gives the first answer, and not what the operation or the account has become."""
    account, key = w.account_with(100), w.key()
    first = w.api.spend(account, 60, key=key)
    w.spent(account, 40)
    w.earned(account, 7)
    is_replay(first, w.api.spend(account, 60, key=key))
    w.has(account, 7)


@case(needs=[Capability.SPEND_CANCEL])
def a_cancelled_spend_replays_as_it_was(w: World) -> None:
    """The key of a spend that was cancelled gives the spend again, and takes nothing."""
    account, key = w.account_with(100), w.key()
    first = w.api.spend(account, 60, key=key)
    w.cancelled(w.done(first))
    is_replay(first, w.api.spend(account, 60, key=key))
    w.has(account, 100)


@case()
def spelling_makes_no_other_request(w: World) -> None:
    """Order of members, white space, escapes and the offset of a time do not matter to a key."""
    account, key, reference = w.account(), w.key(), w.reference()
    moment, elsewhere = "2021-06-01T12:00:00Z", "2021-06-01T21:00:00.000+09:00"
    first = w.api.earn(account, 10, key=key, reference=reference, occurred_at=moment)
    w.done(first)
    members = {"occurred_at": elsewhere, "reference": reference, "points": 10}
    text = json.dumps(members, indent=3)[:-1] + ', "reason" : "ORDER\\u005fREWARD" }\n'
    is_replay(first, w.api.post(earn_path(account), text.encode(), key=key))
    w.has(account, 10)


@case()
def another_body_is_refused(w: World) -> None:
    """The same key with another body answers 422 idempotency_key_reused and changes nothing."""
    account, key = w.account_with(100), w.key()
    w.done(w.api.spend(account, 10, key=key))
    with w.nothing_changes(account):
        forms.refused(w.api.spend(account, 11, key=key), "idempotency_key_reused")
        forms.refused(w.api.spend(account, 10, key=key, reference="r"), "idempotency_key_reused")
        forms.refused(w.api.spend(account, 10, key=key, metadata={"a": 1}), "idempotency_key_reused")


@case()
def another_address_is_refused(w: World) -> None:
    """The same key at another endpoint or account answers 422 idempotency_key_reused."""
    account, other, key = w.account_with(100), w.account_with(100), w.key()
    spent = w.done(w.api.spend(account, 10, key=key))
    with w.nothing_changes(account, other):
        forms.refused(w.api.spend(other, 10, key=key), "idempotency_key_reused")
        forms.refused(w.api.earn(account, 10, key=key), "idempotency_key_reused")
        forms.refused(w.api.cancel(spent["id"], key=key), "idempotency_key_reused")


@case()
def a_refusal_is_an_outcome_that_stays(w: World) -> None:
    """insufficient_points comes again with its key, byte for byte, also when there would be enough."""
    account, key = w.account_with(10), w.key()
    first = w.api.spend(account, 50, key=key)
    forms.refused(first, "insufficient_points")
    w.earned(account, 100)
    with w.nothing_changes(account):
        is_replay(first, w.api.spend(account, 50, key=key))
    w.done(w.api.spend(account, 50))
    w.has(account, 60)


@case(needs=[Capability.SPEND_CANCEL])
def not_cancellable_is_an_outcome_that_stays(w: World) -> None:
    """not_cancellable comes again with its key, byte for byte, and gives back nothing."""
    account, key = w.account_with(50), w.key()
    spent = w.spent(account, 20)
    first = w.api.cancel(spent["id"], points=21, key=key)
    forms.refused(first, "not_cancellable")
    with w.nothing_changes(account):
        is_replay(first, w.api.cancel(spent["id"], points=21, key=key))


@case()
def a_mistake_does_not_use_up_a_key(w: World) -> None:
    """A request that was refused before it was done may be mended and sent with the same key."""
    account, key = w.account(), w.key()
    forms.invalid(w.api.earn(account, 0, key=key), points="out_of_range")
    forms.invalid(w.api.earn(account, 5, key=key, reason="NO_SUCH_REASON"), reason="unknown_reason")
    forms.refused(w.api.post(earn_path(account), b"{", key=key), "malformed_request")
    mended = w.api.earn(account, 5, key=key)
    w.done(mended)
    true("the mended request is no replay", "idempotency-replayed" not in mended.headers, mended)
    w.has(account, 5)


@case()
def bare_and_quoted_are_one_key(w: World) -> None:
    """A key may be bare or quoted as in RFC 8941; a comma and a quote only in quotes."""
    account, key = w.account(), w.key()
    first = w.api.earn(account, 10, key=key)
    w.done(first)
    is_replay(first, w.api.earn(account, 10, key=f'"{key}"'))
    spelt = f'"{key}, \\"2\\""'
    first = w.api.earn(account, 10, key=spelt)
    w.done(first)
    is_replay(first, w.api.earn(account, 10, key=spelt))
    w.has(account, 20)


@case()
def keys_are_told_apart_exactly(w: World) -> None:
    """Keys that differ in case or at their 255th character are different keys."""
    account, key = w.account(), w.key()
    long = (key + "!#$%&'()*+-./:;<=>?@[]^_`{|}~ ").ljust(254, "k")
    keys = (f"{key}a", f"{key}A", long + "1", long + "2")
    first = [w.api.earn(account, 10, key=each) for each in keys]
    equal("operations", len({w.done(exchange)["id"] for exchange in first}), 4, w.last_exchange)
    for exchange, each in zip(first, keys, strict=True):
        is_replay(exchange, w.api.earn(account, 10, key=each))
    w.has(account, 40)


@case()
def without_a_key_nothing_is_done(w: World) -> None:
    """Every POST that moves points answers 400 idempotency_key_missing without the header."""
    account = w.account_with(50)
    spent = w.spent(account, 20)
    with w.nothing_changes(account):
        for exchange in (
            w.api.earn(account, 10, key=None),
            w.api.spend(account, 10, key=None),
            w.api.cancel(spent["id"], key=None),
            w.api.transfer(account, w.account(), 10, key=None),
        ):
            forms.refused(exchange, "idempotency_key_missing")


@case()
def a_malformed_key_is_refused(w: World) -> None:
    """A key that is empty, too long, not ASCII or sent twice answers 400 idempotency_key_invalid."""
    account, key = w.account_with(50), w.key()
    body = {"points": 10, "reason": "ORDER_PAYMENT"}
    with w.nothing_changes(account):
        for given in (
            ["k" * 256],
            ['"' + "k" * 256 + '"'],
            ['""'],
            ['"a'],
            ["caf\u00e9"],
            ["a,b"],
            [key, key],
        ):
            headers = [("Idempotency-Key", each) for each in given]
            exchange = w.api.post(spend_path(account), body, key=None, headers=headers)
            forms.refused(exchange, "idempotency_key_invalid")


@case(other_client=True)
def the_key_of_another_client_is_another_key(w: World) -> None:
    """Two clients may use the same key, each for an operation of its own."""
    account, key = w.account(), w.key()
    first, second = w.api.earn(account, 10, key=key), w.other.earn(account, 10, key=key)
    true("two operations", w.done(first)["id"] != w.done(second)["id"], second)
    true("the second is no replay", "idempotency-replayed" not in second.headers, second)
    w.has(account, 20)


@case()
def a_replay_is_named_by_its_own_request_id(w: World) -> None:
    """X-Request-ID names the request at hand, also where the body is that of the first."""
    account, key = w.account(), w.key()
    answers = [
        w.api.spend(account, 10, key=key, headers=[("X-Request-ID", name)]) for name in ("first-1", "again-2")
    ]
    got = [exchange.headers["x-request-id"] for exchange in answers]
    equal("X-Request-ID", got, ["first-1", "again-2"], answers[1])
    is_replay(*answers)


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def a_key_that_cancels_is_bound_to_its_operation(w: World) -> None:
    """The key of one cancel does not cancel another operation."""
    account, key = w.account_with(50), w.key()
    first, second = w.spent(account, 10), w.spent(account, 20)
    exchange = w.api.post(cancel_path(first["id"]), {"points": 11}, key=key)
    forms.refused(exchange, "not_cancellable")
    with w.nothing_changes(account):
        exchange = w.api.post(cancel_path(second["id"]), {"points": 11}, key=key)
        forms.refused(exchange, "idempotency_key_reused")
