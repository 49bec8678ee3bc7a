"""Many operations in one request."""

from typing import Any

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import Json, World

REASONS = {"earn": "ORDER_REWARD", "spend": "ORDER_PAYMENT", "transfer": "GIFT"}


def item(w: World, kind: str, **members: Any) -> Json:
    reason = {"reason": REASONS[kind]} if kind in REASONS else {}
    return {"kind": kind, "idempotency_key": w.key(), **reason, **members}


def statuses(w: World, results: list[Json], *wanted: int) -> None:
    equal("status of each item", [result["status"] for result in results], list(wanted), w.last_exchange)


def codes(results: list[Json]) -> list[str]:
    return [result["problem"]["code"] for result in results if "problem" in result]


@case()
def each_item_has_its_own_effect(w: World) -> None:
    """Items are answered in their order; one that is refused stops no other."""
    account, reference = w.account(), w.reference()
    results = w.api.batch(
        item(w, "earn", account_number=account, points=100, reference=reference),
        item(w, "spend", account_number=account, points=1000),
        item(w, "spend", account_number=account, points=70),
        item(w, "earn", account_number=account, points=5),
    )
    statuses(w, results, 201, 422, 201, 201)
    equal("codes", codes(results), ["insufficient_points"], w.last_exchange)
    got = [(o["kind"], o["points"], o["reference"]) for r in results if (o := r.get("operation"))]
    wanted = [("earn", 100, reference), ("spend", 70, None), ("earn", 5, None)]
    equal("(kind, points, reference)", got, wanted, w.last_exchange)
    w.has(account, 35)


@case()
def an_operation_of_a_batch_is_like_any_other(w: World) -> None:
    """What a batch did is found by its id, with the members that it was answered with."""
    account = w.account()
    (result,) = w.api.batch(item(w, "earn", account_number=account, points=10))
    statuses(w, [result], 201)
    equal("operation", w.api.operation(result["operation"]["id"]), result["operation"], w.last_exchange)


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def a_batch_cancels(w: World) -> None:
    """A cancel is an item like any other, with the id of what it cancels."""
    account = w.account_with(50)
    spent = w.spent(account, 30)
    results = w.api.batch(
        item(w, "cancel", operation_id=spent["id"], points=10),
        item(w, "cancel", operation_id=spent["id"], points=21),
        item(w, "cancel", operation_id=spent["id"]),
    )
    statuses(w, results, 201, 409, 201)
    equal("codes", codes(results), ["not_cancellable"], w.last_exchange)
    w.has(account, 50)


@case()
def a_key_twice_in_a_batch_is_refused(w: World) -> None:
    """The second item with a key answers 422 idempotency_key_reused, whatever its body."""
    account = w.account()
    first = item(w, "earn", account_number=account, points=10)
    results = w.api.batch(first, first, {**first, "points": 20})
    statuses(w, results, 201, 422, 422)
    equal("codes", codes(results), ["idempotency_key_reused"] * 2, w.last_exchange)
    w.has(account, 10)


@case()
def a_batch_sent_again_changes_nothing(w: World) -> None:
    """A batch with the same keys gives the first outcomes, and each is done once."""
    account = w.account()
    items = [
        item(w, "earn", account_number=account, points=10),
        item(w, "spend", account_number=account, points=100),
        item(w, "spend", account_number=account, points=3),
    ]
    first = w.api.batch(*items)
    statuses(w, first, 201, 422, 201)
    with w.nothing_changes(account):
        equal("results", w.api.batch(*items), first, w.last_exchange)


@case()
def a_key_is_the_same_in_and_out_of_a_batch(w: World) -> None:
    """What a batch did is replayed alone under its key, and the other way round."""
    account = w.account()
    in_batch, alone = w.key(), w.key()
    (result,) = w.api.batch(item(w, "earn", account_number=account, points=10, idempotency_key=in_batch))
    exchange = w.api.earn(account, 10, key=in_batch)
    equal("operation", w.done(exchange), result["operation"], exchange)
    equal("Idempotency-Replayed", exchange.headers.get("idempotency-replayed"), "true", exchange)
    earned = w.earned(account, 20, key=alone)
    (result,) = w.api.batch(item(w, "earn", account_number=account, points=20, idempotency_key=alone))
    equal("operation", result.get("operation"), earned, w.last_exchange)
    w.has(account, 30)


@case()
def a_bad_item_is_its_own_problem(w: World) -> None:
    """What is wrong with one item is the problem of that item, and the others are done."""
    account = w.account()
    good = item(w, "earn", account_number=account, points=10)
    results = w.api.batch(
        {**good, "idempotency_key": w.key(), "points": 0, "colour": "red"},
        {**good, "idempotency_key": ""},
        {**good, "kind": "grant"},
        item(w, "cancel", operation_id="5"),
        item(w, "cancel", operation_id=w.key()),
        {"kind": "earn"},
        5,
        None,
        good,
    )
    statuses(w, results, 400, 400, 400, 400, 404, 400, 400, 400, 201)
    errors = {error["field"]: error["code"] for error in results[0]["problem"]["errors"]}
    equal("errors", errors, {"points": "out_of_range", "colour": "unknown_field"}, w.last_exchange)
    w.has(account, 10)


@case()
def items_of_several_accounts_stand_apart(w: World) -> None:
    """A batch over many accounts does on each what its items say, in their order."""
    accounts = [w.account() for _ in range(10)]
    items = [item(w, "earn", account_number=account, points=10) for account in accounts]
    items += [item(w, "spend", account_number=account, points=n) for n, account in enumerate(accounts, 1)]
    items += [item(w, "spend", account_number=account, points=1) for account in accounts]
    results = w.api.batch(*items)
    statuses(w, results, *[201] * 29, 422)
    got = [w.api.available(account) for account in accounts]
    equal("available", got, [8, 7, 6, 5, 4, 3, 2, 1, 0, 0], w.last_exchange)


@case()
def a_batch_is_read_strictly(w: World) -> None:
    """A batch without items, with more than 1,000, or with another member is refused as a whole."""
    path, account = "/api/v1/operations:batch", w.account()
    items = [item(w, "earn", account_number=account, points=1) for _ in range(1001)]
    with w.nothing_changes(account):
        forms.invalid(w.api.post(path, {}, key=None), operations="missing")
        forms.invalid(w.api.post(path, {"operations": []}, key=None), operations="bad_value")
        forms.invalid(w.api.post(path, {"operations": items}, key=None), operations="bad_value")
        forms.invalid(w.api.post(path, {"operations": {}}, key=None), operations="wrong_type")
        body = {"operations": items[:1], "atomic": True}
        forms.invalid(w.api.post(path, body, key=None), atomic="unknown_field")


@case()
def a_batch_may_have_2_mib(w: World) -> None:
    """A body above 2 MiB answers 413, and one far above that of a single operation is read."""
    account = w.account()
    path = "/api/v1/operations:batch"
    items = [
        item(w, "earn", account_number=account, points=1, metadata={"note": "x" * 1900}) for _ in range(60)
    ]
    results = w.api.batch(*items)
    statuses(w, results, *[201] * 60)
    w.has(account, 60)
    too_large = w.api.post(path, b" " * (2 * 1024 * 1024 + 1), key=None)
    forms.refused(too_large, "payload_too_large")


@case(other_client=True)
def a_batch_does_not_reach_the_operations_of_others(w: World) -> None:
    """The cancel of another client's operation is operation_not_found in a batch as well."""
    account = w.account_with(50)
    spent = w.done(w.other.spend(account, 30))
    with w.nothing_changes(account):
        results = w.api.batch(item(w, "cancel", operation_id=spent["id"]))
    equal("codes", codes(results), ["operation_not_found"], w.last_exchange)


@case(needs=[Capability.TRANSFER])
def a_batch_gives_points_away(w: World) -> None:
    """A transfer is an item like any other, with the two accounts that it is between."""
    giver, taker = w.account_with(50), w.account()
    members = {"from": giver, "to": taker, "points": 20}
    results = w.api.batch(item(w, "transfer", **members), item(w, "transfer", **{**members, "points": 31}))
    statuses(w, results, 201, 422)
    true("the transfer names both", results[0]["operation"]["to_account_number"] == taker, w.last_exchange)
    equal("available", [w.api.available(each) for each in (giver, taker)], [30, 20], w.last_exchange)
