"""`Prefer: respond-async`: accepted durably now, done in order soon after."""

from functools import partial

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.client import Exchange
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import Json, World, operation_path

ASYNC = [("Prefer", "respond-async")]


def accepted(exchange: Exchange) -> Json:
    """The operation of an answer that is done (201) or will be (202)."""
    operation = forms.operation(forms.answered(exchange, 201, 202), exchange)
    state = "accepted" if exchange.status == 202 else "completed"
    equal("state", operation["state"], state, exchange)
    equal("Location", exchange.headers.get("location"), operation_path(operation["id"]), exchange)
    applied = exchange.headers.get("preference-applied")
    equal("Preference-Applied", applied, "respond-async" if exchange.status == 202 else None, exchange)
    return operation


@case()
def an_earn_may_be_done_later(w: World) -> None:
    """An earn that is accepted (202) or done (201) at once ends as completed, with all its points."""
    account, reference = w.account(), w.reference()
    operation = accepted(w.api.earn(account, 70, headers=ASYNC, reference=reference))
    ended = w.ended(operation["id"])
    got = [ended[name] for name in ("id", "kind", "account_number", "points", "reference")]
    wanted = [operation["id"], "earn", account, 70, reference]
    equal("[id, kind, account_number, points, reference]", got, wanted, w.last_exchange)
    equal("cancellable_points", ended["cancellable_points"], 70, w.last_exchange)
    w.has(account, 70)


@case(needs=[Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def a_cancel_may_be_done_later(w: World) -> None:
    """A cancel that is accepted or done at once ends as completed, with the points given back."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    operation = accepted(w.api.cancel(spent["id"], points=25, headers=ASYNC))
    ended = w.ended(operation["id"])
    got = [ended[name] for name in ("kind", "points", "cancels")]
    equal("[kind, points, cancels]", got, ["spend_cancel", 25, spent["id"]], w.last_exchange)
    w.has(account, 65)


@case()
def what_is_accepted_is_done_once(w: World) -> None:
    """The same key gives the same operation, accepted or completed, and its points once."""
    account, key = w.account(), w.key()
    first = accepted(w.api.earn(account, 70, key=key, headers=ASYNC))
    again = w.api.earn(account, 70, key=key, headers=ASYNC)
    equal("id", forms.answered(again, 201, 202)["id"], first["id"], again)
    equal("Idempotency-Replayed", again.headers.get("idempotency-replayed"), "true", again)
    w.ended(first["id"])
    after = w.api.earn(account, 70, key=key)
    equal("id", w.done(after)["id"], first["id"], after)
    w.has(account, 70)


@case()
def what_is_accepted_binds_its_key(w: World) -> None:
    """Another body under the key of an accepted operation is idempotency_key_reused."""
    account, key = w.account(), w.key()
    first = accepted(w.api.earn(account, 70, key=key, headers=ASYNC))
    forms.refused(w.api.earn(account, 71, key=key, headers=ASYNC), "idempotency_key_reused")
    w.ended(first["id"])
    w.has(account, 70)


@case()
def what_is_accepted_comes_before_what_follows(w: World) -> None:
    """A spend that follows accepted earns finds their points: an account does all things in order."""
    account = w.account()
    for points in (10, 20, 30):
        accepted(w.api.earn(account, points, headers=ASYNC))
    exchange = w.until_decided(partial(w.api.spend, account, 60, key=w.key()))
    w.done(exchange)
    w.has(account, 0)


@case()
def a_mistake_is_told_at_once(w: World) -> None:
    """What can be judged at once is refused at once, and nothing is accepted."""
    account = w.account_with(10)
    with w.nothing_changes(account):
        forms.invalid(w.api.earn(account, 0, headers=ASYNC), points="out_of_range")
        forms.invalid(w.api.earn(account, 1, reason="NO_SUCH", headers=ASYNC), reason="unknown_reason")
        forms.refused(w.api.earn(account, 1, key=None, headers=ASYNC), "idempotency_key_missing")
        forms.refused(w.api.cancel(w.key(), headers=ASYNC), "operation_not_found")


@case(needs=[Capability.SPEND_CANCEL])
def a_cancel_that_is_refused_stays_refused(w: World) -> None:
    """A cancel of too much is refused at once or ends as failed; its key gives that outcome for ever."""
    account, key = w.account_with(10), w.key()
    spent = w.spent(account, 5)
    with w.nothing_changes(account):
        first = w.api.cancel(spent["id"], points=6, key=key, headers=ASYNC)
        if first.status == 202:
            w.ended(accepted(first)["id"], state="failed")
        else:
            forms.refused(first, "not_cancellable")
        again = w.api.cancel(spent["id"], points=6, key=key, headers=ASYNC)
        forms.refused(again, "not_cancellable")
        equal("Idempotency-Replayed", again.headers.get("idempotency-replayed"), "true", again)
        equal("body", w.api.cancel(spent["id"], points=6, key=key).body, again.body, w.last_exchange)


@case()
def a_spend_is_never_done_later(w: World) -> None:
    """A spend is decided at once, whatever is preferred."""
    account = w.account_with(100)
    exchange = w.api.spend(account, 60, headers=ASYNC)
    w.done(exchange)
    true("no Preference-Applied", "preference-applied" not in exchange.headers, exchange)
    forms.refused(w.api.spend(account, 60, headers=ASYNC), "insufficient_points")
    w.has(account, 40)
