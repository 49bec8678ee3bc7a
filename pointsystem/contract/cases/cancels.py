"""Cancelling what was earned or spent."""

from uuid import uuid4

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import World

SPEND = [Capability.SPEND_CANCEL]
SPEND_PART = [Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL]
EARN = [Capability.EARN_CANCEL]
EARN_PART = [Capability.EARN_CANCEL, Capability.PARTIAL_CANCEL]


@case(needs=SPEND)
def cancel_of_a_spend_answers_the_operation(w: World) -> None:
    """A cancel without points gives back all that was spent, as an operation of its own."""
    account, reference = w.account_with(100), w.reference()
    spent = w.spent(account, 60)
    exchange = w.api.cancel(spent["id"], reference=reference)
    cancelled = w.done(exchange)
    told = {name: cancelled[name] for name in ("id", "recorded_at", "balance_after", "lots")}
    wanted = {
        "kind": "spend_cancel",
        "state": "completed",
        "account_number": account,
        "points": 60,
        "reason": "ORDER_CANCELLED",
        "reference": reference,
        "occurred_at": None,
        "cancels": spent["id"],
        "cancellable_points": 0,
        "metadata": None,
    }
    equal("operation", cancelled, told | wanted, exchange)
    w.has(account, 100)


@case(needs=[*SPEND, Capability.REPORTS_LOTS, Capability.REPORTS_BALANCE_AFTER])
def cancel_reports_what_it_gave_back(w: World) -> None:
    """A whole cancel reports the lots that the spend took from, and the balance after it."""
    account = w.account_with(60, 60)
    spent = w.spent(account, 100)
    cancelled = w.cancelled(spent)
    w.tells(Capability.REPORTS_BALANCE_AFTER, "balance_after", cancelled["balance_after"], 120)
    if w.told(Capability.REPORTS_LOTS, cancelled["lots"]):
        given, taken = (sorted((s["lot"], s["points"]) for s in o["lots"]) for o in (cancelled, spent))
        equal("(lot, points) given back", given, taken, w.last_exchange)


@case(needs=SPEND_PART)
def parts_can_be_cancelled_up_to_what_was_spent(w: World) -> None:
    """Parts are given back one by one up to exactly what was spent; one point more is not_cancellable."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    for points, available in ((10, 50), (25, 75), (25, 100)):
        w.cancelled(spent, points=points)
        w.has(account, available)
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(spent["id"], points=1), "not_cancellable")
        forms.refused(w.api.cancel(spent["id"]), "not_cancellable")


@case(needs=SPEND_PART)
def the_rest_is_cancelled_without_points(w: World) -> None:
    """After a part, a cancel without points gives back exactly what is left of the spend."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    w.cancelled(spent, points=45)
    equal("points", w.cancelled(spent)["points"], 15, w.last_exchange)
    w.has(account, 100)


@case(needs=SPEND_PART)
def an_operation_tells_what_can_still_be_cancelled(w: World) -> None:
    """cancellable_points of the cancelled operation goes down with each part, and nothing else changes."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    for points, left in ((20, 40), (40, 0)):
        w.cancelled(spent, points=points)
        equal(
            "operation", w.api.operation(spent["id"]), {**spent, "cancellable_points": left}, w.last_exchange
        )


@case(needs=SPEND)
def more_than_was_spent_is_not_given_back(w: World) -> None:
    """A cancel of more than was spent answers 409 not_cancellable and gives back nothing."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(spent["id"], points=61), "not_cancellable")
    equal("cancellable_points", w.api.operation(spent["id"])["cancellable_points"], 60, w.last_exchange)


@case(needs=SPEND_PART)
def spend_then_cancel_is_a_smaller_spend(w: World) -> None:
    """spend(a) and then cancel(b) leaves the balance of spend(a - b)."""
    for spent, cancelled in ((70, 1), (70, 30), (70, 69), (110, 45)):
        one, other = w.account_with(60, 50), w.account_with(60, 50)
        w.cancelled(w.spent(one, spent), points=cancelled)
        w.spent(other, spent - cancelled)
        equal("available", w.api.available(one), w.api.available(other), w.last_exchange)


@case(needs=[*SPEND_PART, Capability.LOTS, Capability.RESTORES_IN_REVERSE])
def spend_then_cancel_leaves_the_same_lots(w: World) -> None:
    """spend(a) and then cancel(b) leaves the very lots of spend(a - b)."""
    one, other = w.account_with(60, 50), w.account_with(60, 50)
    w.cancelled(w.spent(one, 90), points=50)
    w.spent(other, 40)
    left, wanted = (
        [(lot["points"], lot["remaining"]) for lot in w.api.lots(account)] for account in (one, other)
    )
    equal("points left in lots", sum(lot[1] for lot in left), 70, w.last_exchange)
    if left != wanted:
        raise w.does_otherwise(Capability.RESTORES_IN_REVERSE)


@case(needs=SPEND)
def what_was_given_back_can_be_spent_once(w: World) -> None:
    """Points that came back are spent like any others, and not twice."""
    account = w.account_with(50)
    w.cancelled(w.spent(account, 50))
    w.spent(account, 50)
    forms.refused(w.api.spend(account, 1), "insufficient_points")


@case(needs=SPEND)
def a_cancel_cannot_be_cancelled(w: World) -> None:
    """Only earns and spends can be cancelled: the cancel of a cancel is not_cancellable."""
    account = w.account_with(50)
    cancelled = w.cancelled(w.spent(account, 50))
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(cancelled["id"]), "not_cancellable")


@case()
def a_refused_spend_cannot_be_cancelled(w: World) -> None:
    """A spend that was refused took nothing, so there is nothing to give back: not_cancellable."""
    account = w.account_with(50)
    problem = forms.refused(w.api.spend(account, 51), "insufficient_points")
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(problem["operation_id"]), "not_cancellable")


@case()
def what_is_unknown_cannot_be_cancelled(w: World) -> None:
    """The cancel of an id that nobody has, or that is none, answers 404 operation_not_found."""
    unknown = str(uuid4())
    for operation in (unknown, unknown.upper(), unknown.replace("-", ""), f"{{{unknown}}}", "1", "null"):
        forms.refused(w.api.cancel(operation), "operation_not_found")


@case(needs=EARN)
def cancel_of_an_earn_answers_the_operation(w: World) -> None:
    """A cancel of an earn takes back all its points, as an operation of its own."""
    account = w.account_with(30)
    earned = w.earned(account, 70)
    exchange = w.api.cancel(earned["id"])
    cancelled = w.done(exchange)
    told = {name: cancelled[name] for name in ("id", "recorded_at", "balance_after", "lots")}
    wanted = {
        "kind": "earn_cancel",
        "state": "completed",
        "account_number": account,
        "points": 70,
        "reason": "ORDER_CANCELLED",
        "reference": None,
        "occurred_at": None,
        "cancels": earned["id"],
        "cancellable_points": 0,
        "metadata": None,
    }
    equal("operation", cancelled, told | wanted, exchange)
    w.has(account, 30)


@case(needs=EARN_PART)
def an_earn_can_be_cancelled_in_parts(w: World) -> None:
    """An earn is taken back in parts up to exactly its points; one more is not_cancellable."""
    account = w.account()
    earned = w.earned(account, 100)
    for points, available in ((30, 70), (69, 1), (1, 0)):
        w.cancelled(earned, points=points)
        w.has(account, available)
        left = w.api.operation(earned["id"])["cancellable_points"]
        equal("cancellable_points", left, available, w.last_exchange)
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(earned["id"], points=1), "not_cancellable")


@case(needs=EARN)
def more_than_was_earned_is_not_taken_back(w: World) -> None:
    """A cancel of more than was earned is not_cancellable, even where other points are there."""
    account = w.account_with(100)
    earned = w.earned(account, 70)
    with w.nothing_changes(account):
        forms.refused(w.api.cancel(earned["id"], points=71), "not_cancellable")


@case(needs=EARN)
def an_earn_takes_its_own_points_back_first(w: World) -> None:
    """The cancel of an earn that nobody spent from leaves all other points as they are."""
    account = w.account()
    first = w.earned(account, 40)
    second = w.earned(account, 60)
    w.cancelled(second)
    w.has(account, 40)
    w.cancelled(first)
    w.has(account, 0)


@case(needs=[*EARN, Capability.CLAWBACK_WITHIN_BALANCE])
def spent_points_are_taken_from_others_or_reported(w: World) -> None:
    """The cancel of an earn that was spent takes other points, and reports what it could not collect."""
    account = w.account()
    earned = w.earned(account, 100)
    w.spent(account, 80)
    w.earned(account, 30)
    before = w.api.available(account)
    exchange = w.api.cancel(earned["id"])
    if exchange.code == "earn_already_spent":
        forms.refused(exchange, "earn_already_spent")
        w.has(account, before)
        raise w.does_otherwise(Capability.CLAWBACK_WITHIN_BALANCE)
    cancelled = w.done(exchange)
    equal("points", cancelled["points"], 100, exchange)
    equal("uncollected_points", cancelled.get("uncollected_points"), 50, exchange)
    w.has(account, 0)


@case(needs=SPEND)
def a_cancel_keeps_what_it_was_told(w: World) -> None:
    """reason and reference of a cancel come back as they were sent."""
    account, reference = w.account_with(50), w.reference()
    cancelled = w.cancelled(w.spent(account, 20), reason="ORDER_CANCELLED", reference=reference)
    got = [cancelled["reason"], cancelled["reference"]]
    equal("[reason, reference]", got, ["ORDER_CANCELLED", reference], w.last_exchange)


@case()
def a_cancel_is_read_strictly(w: World) -> None:
    """A null for points, an unfit reason and an unknown member are refused, and nothing is cancelled."""
    account = w.account_with(50)
    spent = w.spent(account, 20)
    with w.nothing_changes(account):
        forms.invalid(w.api.cancel(spent["id"], points=None), points="wrong_type")
        forms.invalid(w.api.cancel(spent["id"], points=0), points="out_of_range")
        forms.invalid(w.api.cancel(spent["id"], reason="ORDER_REWARD"), reason="reason_not_allowed")
        forms.invalid(w.api.cancel(spent["id"], all=True), all="unknown_field")


@case(needs=SPEND_PART)
def parts_of_several_spends_stand_apart(w: World) -> None:
    """What is cancelled of one spend is no part of another's."""
    account = w.account_with(100)
    first, second = w.spent(account, 30), w.spent(account, 40)
    w.cancelled(first, points=30)
    w.cancelled(second, points=10)
    left = [w.api.operation(spent["id"])["cancellable_points"] for spent in (first, second)]
    equal("cancellable_points", left, [0, 30], w.last_exchange)
    forms.refused(w.api.cancel(first["id"], points=1), "not_cancellable")
    w.has(account, 70)
