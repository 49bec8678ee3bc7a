"""The lots of an account."""

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import Json, World, lots_path


def remaining(lots: list[Json]) -> list[tuple[int, int]]:
    return [(lot["points"], lot["remaining"]) for lot in lots]


@case(needs=[Capability.LOTS, Capability.REPORTS_LOTS])
def an_earn_is_a_lot(w: World) -> None:
    """Each earn is one lot with its points, its moment, its reason and its expiry."""
    account = w.account()
    earned = w.earned(account, 70)
    lots = w.api.lots(account)
    wanted = {
        "points": 70,
        "remaining": 70,
        "earned_at": earned["recorded_at"],
        "reason": "ORDER_REWARD",
        "origin": None,
    }
    told = {name: lots[0][name] for name in ("id", "expires_at")}
    equal("lots", lots, [told | wanted], w.last_exchange)
    if w.told(Capability.REPORTS_LOTS, earned["lots"]):
        share = {"lot": lots[0]["id"], "points": 70, "expires_at": lots[0]["expires_at"]}
        equal("lots of the earn", earned["lots"], [share], w.last_exchange)


@case(needs=[Capability.LOTS])
def lots_sum_to_the_balance(w: World) -> None:
    """What remains in the lots that can be spent is what is available."""
    account = w.account_with(60, 50, 40)
    w.spent(account, 85)
    w.has(account, sum(lot["remaining"] for lot in w.api.lots(account)))


@case(needs=[Capability.LOTS])
def a_spend_takes_lots_in_their_order(w: World) -> None:
    """Lots are listed in the order in which a spend takes them."""
    account = w.account_with(60, 50, 40)
    before = w.api.lots(account)
    equal("points of the lots", sorted(lot["points"] for lot in before), [40, 50, 60], w.last_exchange)
    taken = before[0]["points"] + 10
    w.spent(account, taken)
    wanted = [(before[1]["points"], before[1]["points"] - 10), (before[2]["points"], before[2]["points"])]
    equal("(points, remaining)", remaining(w.api.lots(account)), wanted, w.last_exchange)


@case(needs=[Capability.LOTS, Capability.EXPIRES_AT, Capability.SOONEST_FIRST])
def lots_that_lapse_soonest_come_first(w: World) -> None:
    """Lots are listed by their expiry, soonest first and never last."""
    account = w.account_with(10, expires_at=None)
    soon, late = w.in_days(30), w.in_days(60)
    w.earned(account, 20, expires_at=late)
    w.earned(account, 30, expires_at=soon)
    got = [(lot["points"], lot["expires_at"]) for lot in w.api.lots(account)]
    if got == [(10, None), (20, late), (30, soon)]:
        raise w.does_otherwise(Capability.SOONEST_FIRST)
    equal("(points, expires_at)", got, [(30, soon), (20, late), (10, None)], w.last_exchange)


@case(needs=[Capability.LOTS, Capability.ALL_LOTS])
def used_up_lots_are_listed_when_asked_for(w: World) -> None:
    """A lot with nothing left is listed with state=all alone, and then with 0 remaining."""
    account = w.account_with(60, 50)
    w.spent(account, 60)
    equal("live lots", remaining(w.api.lots(account)), [(50, 50)], w.last_exchange)
    equal("live lots", remaining(w.api.lots(account, "?state=live")), [(50, 50)], w.last_exchange)
    everything = sorted(remaining(w.api.lots(account, "?state=all")))
    equal("all lots", everything, [(50, 50), (60, 0)], w.last_exchange)


@case(needs=[Capability.LOTS])
def ids_of_lots_stay(w: World) -> None:
    """A lot keeps its id, its moment and its expiry whatever is taken from it."""
    account = w.account_with(60)
    before = w.api.lots(account)
    w.spent(account, 15)
    equal("lots", w.api.lots(account), [{**before[0], "remaining": 45}], w.last_exchange)


@case()
def the_state_of_lots_is_live_or_all(w: World) -> None:
    """A state other than live or all is refused."""
    account = w.account()
    for state in ("dead", "", "ALL", "live,all"):
        forms.invalid(w.api.get(f"{lots_path(account)}?state={state}"), state="bad_format")
