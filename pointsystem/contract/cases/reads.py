"""Balances, histories and previews."""

import time
from datetime import timedelta
from urllib.parse import quote

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import World, balance_path, stamp


@case()
def a_never_seen_account_has_nothing(w: World) -> None:
    """The balance of a never-seen account is 200 with 0, and reading it opens nothing."""
    account = w.account()
    for _ in range(2):
        balance = w.api.balance(account)
        got = [balance["account_number"], balance["available"], balance["next_expiry"]]
        equal("[account_number, available, next_expiry]", got, [account, 0, None], w.last_exchange)


@case(needs=[Capability.HISTORY])
def a_never_seen_account_has_no_history(w: World) -> None:
    """The history of a never-seen account is an empty page."""
    exchange = w.api.get(f"/api/v1/accounts/{w.account()}/history")
    equal("page", forms.answered(exchange, 200), {"data": [], "next": None, "previous": None}, exchange)


@case(needs=[Capability.LOTS])
def a_never_seen_account_has_no_lots(w: World) -> None:
    """The lots of a never-seen account are an empty page."""
    exchange = w.api.get(f"/api/v1/accounts/{w.account()}/lots")
    equal("page", forms.answered(exchange, 200), {"data": [], "next": None, "previous": None}, exchange)


@case(needs=[Capability.REPORTS_EXPIRING])
def a_balance_says_what_lapses_soon(w: World) -> None:
    """expiring_soon has the points that lapse before an instant ahead; for an account with none, 0."""
    balance = w.api.balance(w.account())
    if w.told(Capability.REPORTS_EXPIRING, balance["expiring_soon"]):
        equal("points", balance["expiring_soon"]["points"], 0, w.last_exchange)
        true("`before` is ahead", balance["expiring_soon"]["before"] > balance["as_of"], w.last_exchange)


@case(needs=[Capability.EXPIRES_AT, Capability.REPORTS_EXPIRING])
def soon_is_counted_to_the_point(w: World) -> None:
    """expiring_soon counts what lapses in the next days, less what was spent of it, and nothing else."""
    account = w.account_with(100, expires_at=w.in_days(10))
    w.earned(account, 50, expires_at=w.in_days(400))
    w.earned(account, 25, expires_at=None)
    balance = w.api.balance(account)
    if w.told(Capability.REPORTS_EXPIRING, balance["expiring_soon"]):
        equal("points", balance["expiring_soon"]["points"], 100, w.last_exchange)


@case(needs=[Capability.EXPIRES_AT, Capability.REPORTS_NEXT_EXPIRY])
def a_balance_says_what_lapses_first(w: World) -> None:
    """next_expiry has the points that lapse first, all of that instant, and when."""
    first, second = w.in_days(20), w.in_days(50)
    account = w.account_with(10, 20, expires_at=first)
    w.earned(account, 40, expires_at=second)
    wanted = {"points": 30, "at": first}
    w.tells(Capability.REPORTS_NEXT_EXPIRY, "next_expiry", w.api.balance(account)["next_expiry"], wanted)


@case(needs=[Capability.EXPIRES_AT, Capability.EXPIRY_AT_ANY_INSTANT])
def points_lapse_at_their_instant(w: World) -> None:
    """From the instant at which points lapse they are neither shown as available nor spent."""
    account = w.account_with(10, expires_at=None)
    lapses = w.now() + timedelta(seconds=3)
    w.earned(account, 100, expires_at=stamp(lapses))
    w.has(account, 110)
    while w.now() <= lapses:
        time.sleep(0.2)
    w.has(account, 10)
    forms.refused(w.api.spend(account, 11), "insufficient_points")
    w.spent(account, 10)


@case(needs=[Capability.AS_OF])
def the_past_is_read_as_it_was(w: World) -> None:
    """as_of gives the balance as it was at that instant, and tells the instant in UTC."""
    account = w.account()
    moments = [w.earned(account, 100)["recorded_at"], w.spent(account, 30)["recorded_at"]]
    for moment, available in zip(moments, (100, 70), strict=True):
        balance = w.api.balance(account, f"?as_of={moment}")
        got = [balance["available"], balance["as_of"]]
        equal("[available, as_of]", got, [available, moment], w.last_exchange)


@case(needs=[Capability.AS_OF])
def before_it_was_opened_an_account_had_nothing(w: World) -> None:
    """as_of an instant before the first earn gives 0, in any offset."""
    account = w.account_with(100)
    equal("available", w.api.balance(account, "?as_of=2020-01-01T00:00:00Z")["available"], 0, w.last_exchange)
    for offset in ("+09:00", "%2B09:00"):
        balance = w.api.balance(account, f"?as_of=2020-01-01T09:00:00{offset}")
        got = [balance["available"], balance["as_of"]]
        equal("[available, as_of]", got, [0, "2020-01-01T00:00:00Z"], w.last_exchange)


@case(needs=[Capability.AS_OF])
def the_future_cannot_be_read(w: World) -> None:
    """An as_of later than now is refused."""
    moment = stamp(w.now() + timedelta(days=1))
    forms.invalid(w.api.get(f"{balance_path(w.account())}?as_of={moment}"), as_of="in_the_future")


@case()
def a_time_in_a_query_is_read_strictly(w: World) -> None:
    """as_of takes RFC 3339 with an offset and nothing else."""
    account = w.account()
    for given in ("2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "", "now", "1767225600"):
        exchange = w.api.get(f"{balance_path(account)}?as_of={quote(given)}")
        forms.invalid(exchange, as_of="bad_format")


@case(needs=[Capability.HISTORY])
def history_has_each_movement(w: World) -> None:
    """Each operation is a line of its account's history, newest first, with signed points."""
    account, reference = w.account(), w.reference()
    earned = w.earned(account, 100, reference=reference)
    spent = w.spent(account, 30)
    lines = w.api.history(account)
    told = [{name: line[name] for name in ("id", "balance_after", "recorded_at")} for line in lines]
    wanted = [
        {
            "operation_id": spent["id"],
            "kind": "spend",
            "points": -30,
            "reason": "ORDER_PAYMENT",
            "reference": None,
        },
        {
            "operation_id": earned["id"],
            "kind": "earn",
            "points": 100,
            "reason": "ORDER_REWARD",
            "reference": reference,
        },
    ]
    equal("number of lines", len(lines), 2, w.last_exchange)
    equal("lines", lines, [a | b for a, b in zip(told, wanted, strict=True)], w.last_exchange)
    moments = [line["recorded_at"] for line in lines]
    equal("recorded_at", moments, [spent["recorded_at"], earned["recorded_at"]], w.last_exchange)


@case(needs=[Capability.HISTORY, Capability.REPORTS_BALANCE_AFTER])
def each_line_has_the_balance_after_it(w: World) -> None:
    """balance_after of each line is that of the line before, and its points; the newest is the balance."""
    account = w.account_with(100, 50)
    w.spent(account, 120)
    w.earned(account, 5)
    lines = w.api.history(account)
    for line, balance_after in zip(lines, (35, 30, 150, 100), strict=True):
        w.tells(Capability.REPORTS_BALANCE_AFTER, "balance_after", line["balance_after"], balance_after)
    w.has(account, 35)


@case(needs=[Capability.HISTORY, Capability.SPEND_CANCEL, Capability.PARTIAL_CANCEL])
def a_cancel_is_a_line_of_its_own(w: World) -> None:
    """A cancel adds a line and changes none, and the lines sum to the balance."""
    account = w.account_with(100)
    spent = w.spent(account, 60)
    before = w.api.history(account)
    cancelled = w.cancelled(spent, points=25)
    newest, *rest = w.api.history(account)
    equal("the lines that were there", rest, before, w.last_exchange)
    got = [newest["operation_id"], newest["kind"], newest["points"]]
    equal("[operation_id, kind, points]", got, [cancelled["id"], "spend_cancel", 25], w.last_exchange)
    w.has(account, sum(line["points"] for line in (newest, *rest)))


@case(needs=[Capability.HISTORY])
def what_was_refused_is_no_line(w: World) -> None:
    """A refused spend stands in no history."""
    account = w.account_with(10)
    before = w.api.history(account)
    forms.refused(w.api.spend(account, 11), "insufficient_points")
    equal("history", w.api.history(account), before, w.last_exchange)


@case(needs=[Capability.PREVIEW])
def a_preview_tells_and_writes_nothing(w: World) -> None:
    """A preview tells what a spend would take and leave, and takes nothing."""
    account = w.account_with(60, 60)
    with w.nothing_changes(account):
        exchange = w.api.preview(account, 100)
        found = forms.well_formed("a preview", forms.answered(exchange, 200), forms.PREVIEW, exchange)
    got = [found[name] for name in ("account_number", "points", "available", "available_after")]
    equal("[account_number, points, available, available_after]", got, [account, 100, 120, 20], exchange)
    equal("points of the lots", sum(lot["points"] for lot in found["lots"]), 100, exchange)


@case(needs=[Capability.PREVIEW])
def a_preview_of_too_much_is_refused(w: World) -> None:
    """A preview of more than there is answers insufficient_points, as the spend would."""
    account = w.account_with(10)
    exchange = w.api.preview(account, 11)
    equal("status and code", [exchange.status, exchange.code], [422, "insufficient_points"], exchange)


@case(needs=[Capability.PREVIEW, Capability.REPORTS_LOTS])
def a_spend_takes_what_its_preview_said(w: World) -> None:
    """The spend that follows a preview takes the same points of the same lots."""
    account = w.account_with(60, 60)
    exchange = w.api.preview(account, 75)
    told = forms.well_formed("a preview", forms.answered(exchange, 200), forms.PREVIEW, exchange)
    w.tells(Capability.REPORTS_LOTS, "lots", w.spent(account, 75)["lots"], told["lots"])


@case(other_client=True)
def accounts_are_read_by_every_client(w: World) -> None:
    """An account has one balance, whichever client earned or asks."""
    account = w.account_with(10)
    w.done(w.other.earn(account, 5))
    equal("available", [w.api.available(account), w.other.available(account)], [15, 15], w.last_exchange)


@case()
def a_balance_tells_its_instant(w: World) -> None:
    """as_of of a balance is the instant for which it holds, and never goes back after a write."""
    account = w.account()
    before = w.now()
    w.earned(account, 10)
    true("as_of does not go back", w.now() >= before, w.last_exchange)
