"""Operations by their id and by the caller's own reference."""

from uuid import uuid4

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal
from pointsystem.contract.world import World, cancel_path, operation_path

SAME = [("X-Request-ID", "the-same")]


@case()
def an_operation_is_found_by_its_id(w: World) -> None:
    """The operation of a Location is the operation that was answered."""
    account = w.account()
    exchanges = [w.api.earn(account, 100, reference=w.reference()), w.api.spend(account, 30)]
    for exchange in exchanges:
        found = w.api.get(exchange.headers["location"])
        equal("operation", forms.answered(found, 200), exchange.json, found)


@case()
def a_refused_operation_is_found_as_failed(w: World) -> None:
    """The operation that a refusal names is failed, says why, and has nothing to cancel."""
    account = w.account_with(10)
    problem = forms.refused(w.api.spend(account, 11), "insufficient_points")
    found = w.api.operation(problem["operation_id"])
    got = {name: found[name] for name in ("kind", "state", "account_number", "points", "cancellable_points")}
    wanted = {
        "kind": "spend",
        "state": "failed",
        "account_number": account,
        "points": 11,
        "cancellable_points": 0,
    }
    equal("operation", got, wanted, w.last_exchange)
    wanted = {"code": "insufficient_points", "detail": problem["detail"]}
    equal("refusal", found["refusal"], wanted, w.last_exchange)


@case(needs=[Capability.SPEND_CANCEL])
def a_refused_cancel_is_found_as_failed(w: World) -> None:
    """A cancel that was refused, at once or later, is found as failed, with what it would have cancelled."""
    account = w.account_with(50)
    spent = w.spent(account, 30)
    w.cancelled(spent)
    headers: list[tuple[str, str]]
    for headers in ([], [("Prefer", "respond-async")]):
        problem = forms.refused(w.api.cancel(spent["id"], headers=headers), "not_cancellable")
        found = w.api.operation(problem["operation_id"])
        got = [found[name] for name in ("kind", "state", "cancels", "cancellable_points")]
        wanted = ["spend_cancel", "failed", spent["id"], 0]
        equal("[kind, state, cancels, cancellable_points]", got, wanted, w.last_exchange)
        refusal = {"code": "not_cancellable", "detail": problem["detail"]}
        equal("refusal", found["refusal"], refusal, w.last_exchange)


@case()
def unknown_and_malformed_ids_are_one_404(w: World) -> None:
    """An id that nobody has and a text that is none give the same bytes: 404 operation_not_found."""
    unknown = str(uuid4())
    ids = (unknown, unknown.replace("-", ""), unknown.upper(), f"{{{unknown}}}", "5", "true", "a b", "%27")
    bodies = set()
    for operation in ids:
        exchange = w.api.get(operation_path(operation), SAME)
        forms.refused(exchange, "operation_not_found")
        bodies.add(exchange.body)
    equal("number of different bodies", len(bodies), 1, w.last_exchange)


def as_unknown(unknown: Exchange, foreign: Exchange) -> None:
    forms.refused(foreign, "operation_not_found")
    equal("bytes of a foreign and of an unknown id", foreign.body, unknown.body, foreign)


@case(other_client=True)
def the_operation_of_another_is_not_found(w: World) -> None:
    """The operation of another client reads as 404, with the bytes of an id that nobody has."""
    earned = w.done(w.other.earn(w.account(), 100))
    unknown = w.api.get(operation_path(str(uuid4())), SAME)
    as_unknown(unknown, w.api.get(operation_path(earned["id"]), SAME))


@case(other_client=True)
def the_operation_of_another_is_not_cancelled(w: World) -> None:
    """The cancel of another client's operation is the same 404, and cancels nothing."""
    account = w.account_with(100)
    spent = w.done(w.other.spend(account, 60))
    unknown = w.api.post(cancel_path(str(uuid4())), {"points": 10}, headers=SAME)
    with w.nothing_changes(account):
        as_unknown(unknown, w.api.post(cancel_path(spent["id"]), {"points": 10}, headers=SAME))
    equal("cancellable_points", w.other.operation(spent["id"])["cancellable_points"], 60, w.last_exchange)


@case(other_client=True)
def the_references_of_another_are_not_found(w: World) -> None:
    """A reference gives the operations of its own client alone, also where two clients used it."""
    account, reference = w.account(), w.reference()
    mine = w.earned(account, 10, reference=reference)
    theirs = w.done(w.other.earn(account, 20, reference=reference))
    for caller, operation in ((w.api, mine), (w.other, theirs)):
        page = caller.page(f"/api/v1/operations?reference={reference}", None)
        equal("operations", page["data"], [operation], w.last_exchange)


@case()
def operations_are_found_by_reference(w: World) -> None:
    """A reference gives all operations that carry it, oldest first, as each of them stands."""
    account, reference = w.account(), w.reference()
    made = [w.earned(account, 100, reference=reference), w.spent(account, 30, reference=reference)]
    w.earned(account, 5, reference=w.reference())
    page = w.api.page(f"/api/v1/operations?reference={reference}", None)
    equal("page", page, {"data": made, "next": None, "previous": None}, w.last_exchange)


@case(needs=[Capability.SPEND_CANCEL])
def a_cancel_is_found_beside_what_it_cancelled(w: World) -> None:
    """A cancel that carries the reference of its spend is found with it, and the spend as it stands."""
    account, reference = w.account_with(50), w.reference()
    spent = w.spent(account, 30, reference=reference)
    cancelled = w.cancelled(spent, reference=reference)
    page = w.api.page(f"/api/v1/operations?reference={reference}", None)
    wanted = [{**spent, "cancellable_points": 0}, cancelled]
    equal("operations", page["data"], wanted, w.last_exchange)


@case()
def an_unknown_reference_is_an_empty_page(w: World) -> None:
    """A reference that nobody used gives an empty page."""
    page = w.api.page(f"/api/v1/operations?reference={w.reference()}", None)
    equal("page", page, {"data": [], "next": None, "previous": None}, w.last_exchange)


@case()
def a_reference_is_needed_and_read_strictly(w: World) -> None:
    """operations without a reference, or with a malformed one, is refused."""
    forms.invalid(w.api.get("/api/v1/operations"), reference="missing")
    for reference in ("", "a%20b", "a%00b", "%D9%A1", "r" * 65, "%27%20OR%201%3D1"):
        forms.invalid(w.api.get(f"/api/v1/operations?reference={reference}"), reference="bad_format")
    twice = w.api.get("/api/v1/operations?reference=a&reference=a")
    forms.invalid(twice, reference="repeated")
