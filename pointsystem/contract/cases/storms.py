"""Many requests at the same moment. Who is told to come again does, as any client must."""

from collections import Counter
from collections.abc import Callable
from functools import partial

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import Broken, equal
from pointsystem.contract.world import World

THREADS = 20


def stormed(w: World, *sends: Callable[[], Exchange]) -> list[Exchange]:
    """What became of each request, when all were sent at once and each until it was decided."""
    return w.at_once([partial(w.until_decided, send) for send in sends])


def are_one(w: World, answers: list[Exchange]) -> None:
    """All have the same bytes, and all but at most one are marked as replays.

    The first answer itself may have been "come again": then all are.
    """
    w.done(answers[0])
    equal("statuses", sorted({answer.status for answer in answers}), [201], answers[0])
    bodies = Counter(answer.body for answer in answers)
    if len(bodies) != 1:
        rarest = bodies.most_common()[-1][0]
        odd = next(answer for answer in answers if answer.body == rarest)
        raise Broken(f"one key gave {len(bodies)} different bodies", odd)
    first = [answer for answer in answers if "idempotency-replayed" not in answer.headers]
    if len(first) > 1:
        raise Broken(f"{len(first)} answers of one key are marked as no replay", first[1])


@case()
def twenty_earns_with_one_key_are_one(w: World) -> None:
    """20 requests with one key at the same moment are one earn, on an account that they open."""
    account, key = w.account(), w.key()
    are_one(w, stormed(w, *[partial(w.api.earn, account, 70, key=key)] * THREADS))
    w.has(account, 70)


@case()
def twenty_spends_with_one_key_are_one(w: World) -> None:
    """20 requests with one key at the same moment are one spend."""
    account, key = w.account_with(100), w.key()
    are_one(w, stormed(w, *[partial(w.api.spend, account, 30, key=key)] * THREADS))
    w.has(account, 70)


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def twenty_cancels_with_one_key_are_one(w: World) -> None:
    """20 requests with one key at the same moment are one cancel."""
    account, key = w.account_with(100), w.key()
    spent = w.spent(account, 60)
    are_one(w, stormed(w, *[partial(w.api.cancel, spent["id"], points=20, key=key)] * THREADS))
    w.has(account, 60)


@case()
def one_key_with_many_bodies_is_one_request(w: World) -> None:
    """Of different requests with one key exactly one is done, and all others are refused."""
    account, key = w.account_with(1000), w.key()
    answers = stormed(w, *[partial(w.api.spend, account, points, key=key) for points in range(1, 11)])
    done = [answer for answer in answers if answer.status == 201]
    equal("requests that were done", len(done), 1, answers[0])
    for answer in answers:
        if answer is not done[0]:
            forms.refused(answer, "idempotency_key_reused")
    w.has(account, 1000 - w.done(done[0])["points"])


@case()
def many_spenders_never_overspend(w: World) -> None:
    """Of 20 spends of 10 at the same moment over 100 points exactly 10 succeed."""
    account = w.account_with(60, 40)
    answers = stormed(w, *[partial(w.api.spend, account, 10, key=w.key()) for _ in range(THREADS)])
    done = [answer for answer in answers if answer.status == 201]
    for answer in answers:
        if answer.status != 201:
            forms.refused(answer, "insufficient_points")
    w.has(account, 0)
    equal("spends that succeeded", len(done), 10, w.last_exchange)
    equal("operations", len({w.done(answer)["id"] for answer in done}), 10, done[0])


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def many_cancels_never_give_too_much(w: World) -> None:
    """Of 20 cancels of 10 at the same moment of a spend of 100 exactly 10 succeed."""
    account = w.account_with(100)
    spent = w.spent(account, 100)
    answers = stormed(
        w, *[partial(w.api.cancel, spent["id"], points=10, key=w.key()) for _ in range(THREADS)]
    )
    done = [answer for answer in answers if answer.status == 201]
    for answer in answers:
        if answer.status != 201:
            forms.refused(answer, "not_cancellable")
    w.has(account, 100)
    equal("cancels that succeeded", len(done), 10, w.last_exchange)


@case()
def no_earn_is_lost(w: World) -> None:
    """Of 20 earns at the same moment on a new account each counts."""
    account = w.account()
    answers = stormed(w, *[partial(w.api.earn, account, n, key=w.key()) for n in range(1, THREADS + 1)])
    equal("operations", len({w.done(answer)["id"] for answer in answers}), THREADS, answers[0])
    w.has(account, THREADS * (THREADS + 1) // 2)


@case(needs=[Capability.HISTORY])
def a_storm_leaves_a_history_that_sums_up(w: World) -> None:
    """After earns and spends at the same moment the history has each of them, and sums to the balance."""
    account = w.account_with(50)
    sends = [partial(w.api.earn, account, 7, key=w.key()) for _ in range(8)]
    sends += [partial(w.api.spend, account, 5, key=w.key()) for _ in range(8)]
    answers = stormed(w, *sends)
    made = sorted(w.done(answer)["id"] for answer in answers)
    lines = w.api.history(account)
    equal("operations", sorted(line["operation_id"] for line in lines[:-1]), made, w.last_exchange)
    equal("sum of the lines", sum(line["points"] for line in lines), 66, w.last_exchange)
    balances = [line["balance_after"] for line in lines]
    if None not in balances:
        sums = [sum(line["points"] for line in lines[place:]) for place in range(len(lines))]
        equal("balance_after", balances, sums, w.last_exchange)
    w.has(account, 66)
