"""Giving points to another account."""

from functools import partial

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.cases.keys import is_replay
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import World

TRANSFER = [Capability.TRANSFER]


@case(needs=TRANSFER)
def a_transfer_answers_the_operation(w: World) -> None:
    """A transfer answers 201 with the whole operation, and moves exactly its points."""
    giver, taker, reference = w.account_with(100), w.account(), w.reference()
    exchange = w.api.transfer(giver, taker, 30, reference=reference)
    given = w.done(exchange)
    told = {name: given[name] for name in ("id", "recorded_at", "balance_after", "lots")}
    wanted = {
        "kind": "transfer",
        "state": "completed",
        "account_number": giver,
        "to_account_number": taker,
        "points": 30,
        "reason": "GIFT",
        "reference": reference,
        "occurred_at": None,
        "cancellable_points": 0,
        "metadata": None,
    }
    equal("operation", given, told | wanted, exchange)
    equal("available", [w.api.available(each) for each in (giver, taker)], [70, 30], w.last_exchange)


@case(needs=TRANSFER)
def nobody_gives_what_is_not_there(w: World) -> None:
    """A transfer of more than there is answers insufficient_points, and changes neither account."""
    giver, taker = w.account_with(10), w.account_with(5)
    with w.nothing_changes(giver, taker):
        forms.refused(w.api.transfer(giver, taker, 11), "insufficient_points")
    never_seen = w.account()
    with w.nothing_changes(taker, never_seen):
        forms.refused(w.api.transfer(never_seen, taker, 1), "insufficient_points")


@case(needs=TRANSFER)
def nobody_gives_to_oneself(w: World) -> None:
    """A transfer from an account to itself is refused."""
    account = w.account_with(10)
    with w.nothing_changes(account):
        forms.invalid(w.api.transfer(account, account, 1), to="same_account")


@case(needs=TRANSFER)
def a_transfer_sent_again_is_one_transfer(w: World) -> None:
    """The same key gives the same bytes again, and the points move once."""
    giver, taker, key = w.account_with(100), w.account(), w.key()
    first = w.api.transfer(giver, taker, 30, key=key)
    w.done(first)
    is_replay(first, w.api.transfer(giver, taker, 30, key=key))
    forms.refused(w.api.transfer(giver, taker, 31, key=key), "idempotency_key_reused")
    equal("available", [w.api.available(each) for each in (giver, taker)], [70, 30], w.last_exchange)


@case(needs=TRANSFER)
def a_transfer_cannot_be_cancelled(w: World) -> None:
    """A gift stays given: its cancel is not_cancellable."""
    giver, taker = w.account_with(100), w.account()
    given = w.given(giver, taker, 30)
    with w.nothing_changes(giver, taker):
        forms.refused(w.api.cancel(given["id"]), "not_cancellable")


@case(needs=[*TRANSFER, Capability.HISTORY])
def a_transfer_is_a_line_on_both_sides(w: World) -> None:
    """The histories of giver and taker each have a line of the one operation."""
    giver, taker = w.account_with(100), w.account()
    given = w.given(giver, taker, 30)
    for account, kind, points in ((giver, "transfer_out", -30), (taker, "transfer_in", 30)):
        line = w.api.history(account)[0]
        got = [line["operation_id"], line["kind"], line["points"]]
        equal("[operation_id, kind, points]", got, [given["id"], kind, points], w.last_exchange)


@case(needs=[*TRANSFER, Capability.LOTS, Capability.EXPIRES_AT])
def given_points_keep_their_expiry_and_origin(w: World) -> None:
    """Points that were given lapse when they would have, and name the lot that they came out of."""
    giver, taker, lapses = w.account(), w.account(), w.in_days(40)
    w.earned(giver, 100, expires_at=lapses)
    (source,) = w.api.lots(giver)
    w.given(giver, taker, 30)
    (lot,) = w.api.lots(taker)
    got = [lot[name] for name in ("points", "remaining", "expires_at", "origin")]
    wanted = [30, 30, lapses, source["id"]]
    equal("[points, remaining, expires_at, origin]", got, wanted, w.last_exchange)


@case(needs=TRANSFER)
def crossing_transfers_lose_nothing(w: World) -> None:
    """Gifts both ways at the same moment neither block each other nor change the sum."""
    one, other = w.account_with(100), w.account_with(100)
    ways = [(one, other, points) for points in range(1, 7)] + [(other, one, 5)] * 6
    sends = [partial(w.api.transfer, *way, key=w.key()) for way in ways]
    for answer in w.at_once([partial(w.until_decided, send) for send in sends]):
        w.done(answer)
    equal("available", [w.api.available(each) for each in (one, other)], [109, 91], w.last_exchange)
