"""Earning and spending."""

from datetime import timedelta

from pointsystem.contract import forms
from pointsystem.contract.capabilities import Capability
from pointsystem.contract.registry import case
from pointsystem.contract.verdicts import equal, true
from pointsystem.contract.world import World, stamp


@case()
def earn_answers_the_operation(w: World) -> None:
    """An earn answers 201 with the whole operation, its Location, and nothing that it was not told."""
    account, reference = w.account(), w.reference()
    exchange = w.api.earn(account, 120, reference=reference)
    earned = w.done(exchange)
    true(
        "no Idempotency-Replayed on a first answer", "idempotency-replayed" not in exchange.headers, exchange
    )
    told = {name: earned[name] for name in ("id", "recorded_at", "balance_after", "lots")}
    wanted = {
        "kind": "earn",
        "state": "completed",
        "account_number": account,
        "points": 120,
        "reason": "ORDER_REWARD",
        "reference": reference,
        "occurred_at": None,
        "cancellable_points": 120,
        "metadata": None,
    }
    equal("operation", earned, told | wanted, exchange)


@case()
def ids_are_version_7(w: World) -> None:
    """The id of an operation is a UUID of version 7, and each has its own."""
    account = w.account_with(10)
    ids = {w.earned(account, 1)["id"], w.spent(account, 1)["id"], w.spent(account, 1)["id"]}
    equal("versions", [made[14] for made in ids], ["7"] * 3, w.last_exchange)


@case()
def earns_add_up(w: World) -> None:
    """Each earn adds exactly its points, from the first that opens the account."""
    account = w.account()
    for points, available in ((1, 1), (99, 100), (12_345, 12_445)):
        w.earned(account, points)
        w.has(account, available)


@case(needs=[Capability.REPORTS_LOTS, Capability.REPORTS_BALANCE_AFTER])
def earn_reports_its_lot_and_the_balance(w: World) -> None:
    """An earn reports the one lot that it granted, and the balance after it."""
    account = w.account_with(30)
    earned = w.earned(account, 70)
    w.tells(Capability.REPORTS_BALANCE_AFTER, "balance_after", earned["balance_after"], 100)
    if w.told(Capability.REPORTS_LOTS, earned["lots"]):
        equal("points of the lots", [lot["points"] for lot in earned["lots"]], [70], w.last_exchange)


@case()
def a_write_keeps_what_it_was_told(w: World) -> None:
    """reference, occurred_at (in UTC) and metadata come back as they were sent."""
    account = w.account()
    metadata = {"channel": "web", "basket": 7, "gift": False, "note": "caf\u00e9 \ud3ec\uc778\ud2b8 'x\" %s"}
    members = {"reference": w.reference(), "metadata": metadata}
    earned = w.earned(account, 10, occurred_at="2020-02-29T23:30:00.25+09:00", **members)
    spent = w.spent(account, 4, occurred_at="2020-02-29T14:30:00Z", **members)
    for operation, moment in ((earned, "2020-02-29T14:30:00.250000Z"), (spent, "2020-02-29T14:30:00Z")):
        equal("metadata", operation["metadata"], metadata, w.last_exchange)
        equal("reference", operation["reference"], members["reference"], w.last_exchange)
        equal("occurred_at", operation["occurred_at"], moment, w.last_exchange)


@case()
def occurred_at_has_no_effect_on_rules(w: World) -> None:
    """Points that were earned years ago, as the caller says, are as fresh as any other."""
    account = w.account()
    w.earned(account, 10, occurred_at=stamp(w.now() - timedelta(days=3000)))
    w.has(account, 10)


@case(needs=[Capability.EXPIRES_AT, Capability.REPORTS_LOTS])
def expires_at_is_obeyed(w: World) -> None:
    """An earn may say when its points lapse, in any offset, and reads it back in UTC."""
    lapses = w.in_days(40)
    local = lapses.replace("T15:00:00Z", "T20:30:00+05:30")
    earned = w.earned(w.account(), 10, expires_at=local)
    if w.told(Capability.REPORTS_LOTS, earned["lots"]):
        equal("expires_at", [lot["expires_at"] for lot in earned["lots"]], [lapses], w.last_exchange)


@case(needs=[Capability.EXPIRES_AT, Capability.REPORTS_LOTS])
def a_null_expiry_is_never(w: World) -> None:
    """With `expires_at: null` the points never lapse."""
    account = w.account()
    earned = w.earned(account, 10, expires_at=None)
    if w.told(Capability.REPORTS_LOTS, earned["lots"]):
        equal("expires_at", [lot["expires_at"] for lot in earned["lots"]], [None], w.last_exchange)
    equal("next_expiry", w.api.balance(account)["next_expiry"], None, w.last_exchange)


@case(needs=[Capability.EXPIRES_AT])
def an_expiry_that_cannot_be_meant_is_refused(w: World) -> None:
    """An expiry that has come, or lies more than ten years ahead, is refused and grants nothing."""
    account, now = w.account(), w.now()
    with w.nothing_changes(account):
        past = w.api.earn(account, 10, expires_at=stamp(now - timedelta(days=1)))
        forms.invalid(past, expires_at="in_the_past")
        far = w.api.earn(account, 10, expires_at=stamp(now + timedelta(days=4000)))
        forms.invalid(far, expires_at="too_far_ahead")


@case()
def an_occurrence_that_cannot_be_meant_is_refused(w: World) -> None:
    """occurred_at is at most five minutes ahead and ten years back."""
    account = w.account_with(10)
    soon, old = stamp(w.now() + timedelta(hours=1)), stamp(w.now() - timedelta(days=4000))
    with w.nothing_changes(account):
        for write in (w.api.earn, w.api.spend):
            forms.invalid(write(account, 1, occurred_at=soon), occurred_at="too_far_ahead")
            forms.invalid(write(account, 1, occurred_at=old), occurred_at="too_far_back")


@case()
def spend_answers_the_operation(w: World) -> None:
    """A spend answers 201 with the whole operation, and takes exactly its points."""
    account, reference = w.account_with(100), w.reference()
    exchange = w.api.spend(account, 30, reference=reference)
    spent = w.done(exchange)
    told = {name: spent[name] for name in ("id", "recorded_at", "balance_after", "lots")}
    wanted = {
        "kind": "spend",
        "state": "completed",
        "account_number": account,
        "points": 30,
        "reason": "ORDER_PAYMENT",
        "reference": reference,
        "occurred_at": None,
        "cancellable_points": 30,
        "metadata": None,
    }
    equal("operation", spent, told | wanted, exchange)
    w.has(account, 70)


@case(needs=[Capability.REPORTS_LOTS, Capability.REPORTS_BALANCE_AFTER])
def spend_reports_what_it_took(w: World) -> None:
    """A spend reports the lots that it took from, which sum to its points, and the balance after it."""
    account = w.account_with(60, 60)
    spent = w.spent(account, 100)
    w.tells(Capability.REPORTS_BALANCE_AFTER, "balance_after", spent["balance_after"], 20)
    if w.told(Capability.REPORTS_LOTS, spent["lots"]):
        taken = [lot["points"] for lot in spent["lots"]]
        equal("points taken from each lot", taken, [60, 40], w.last_exchange)
        equal("number of lots", len({lot["lot"] for lot in spent["lots"]}), 2, w.last_exchange)


@case()
def everything_can_be_spent(w: World) -> None:
    """A spend of exactly what is available leaves 0, and the account goes on."""
    account = w.account_with(50, 25)
    w.spent(account, 75)
    w.has(account, 0)
    w.earned(account, 5)
    w.has(account, 5)


@case()
def nobody_overspends(w: World) -> None:
    """A spend of one point more than there is answers 422 insufficient_points and takes nothing."""
    account = w.account_with(50, 25)
    with w.nothing_changes(account):
        forms.refused(w.api.spend(account, 76), "insufficient_points")
    w.spent(account, 75)


@case()
def a_never_seen_account_cannot_spend(w: World) -> None:
    """A spend on a never-seen account is insufficient_points, and does not open it."""
    account = w.account()
    with w.nothing_changes(account):
        forms.refused(w.api.spend(account, 1), "insufficient_points")
    w.has(account, 0)


@case(needs=[Capability.LARGEST_POINTS])
def the_largest_operation_is_exact(w: World) -> None:
    """One operation moves up to 1,000,000,000 points, to the point."""
    account = w.account_with(1_000_000_000)
    w.spent(account, 999_999_999)
    w.has(account, 1)


@case()
def more_than_the_largest_is_refused(w: World) -> None:
    """1,000,000,001 points are out of range, in an earn and in a spend."""
    account = w.account()
    with w.nothing_changes(account):
        for write in (w.api.earn, w.api.spend):
            forms.invalid(write(account, 1_000_000_001), points="out_of_range")


@case()
def unknown_and_unfit_reasons_are_refused(w: World) -> None:
    """A reason that is not on the list, or is for another kind of operation, is refused."""
    account = w.account_with(10)
    with w.nothing_changes(account):
        forms.invalid(w.api.earn(account, 1, reason="NO_SUCH_REASON"), reason="unknown_reason")
        forms.invalid(w.api.earn(account, 1, reason="ORDER_PAYMENT"), reason="reason_not_allowed")
        forms.invalid(w.api.spend(account, 1, reason="ORDER_REWARD"), reason="reason_not_allowed")


@case(needs=[Capability.OTHER_REASONS])
def the_first_reasons_can_be_used(w: World) -> None:
    """Each earning reason of the first list grants points under its own name."""
    account = w.account()
    for reason in ("REVIEW", "EVENT", "GIFT_CARD", "COMPENSATION"):
        equal("reason", w.earned(account, 10, reason=reason)["reason"], reason, w.last_exchange)
    w.has(account, 40)


@case(needs=[Capability.SOONEST_FIRST, Capability.EXPIRES_AT, Capability.LOTS])
def a_spend_takes_what_lapses_soonest(w: World) -> None:
    """A spend takes the points that lapse soonest, and those that never lapse last."""
    account = w.account_with(10, expires_at=None)
    w.earned(account, 20, expires_at=w.in_days(60))
    w.earned(account, 30, expires_at=w.in_days(30))
    w.spent(account, 35)
    left = sorted((lot["points"], lot["remaining"]) for lot in w.api.lots(account))
    # Oldest first would have used up the lots of 10 and of 20.
    if left == [(30, 25)]:
        raise w.does_otherwise(Capability.SOONEST_FIRST)
    equal("(points, remaining) of the lots", left, [(10, 10), (20, 15)], w.last_exchange)


@case()
def accounts_stand_apart(w: World) -> None:
    """What happens on one account changes no other, however alike their numbers are."""
    account = w.account()
    near = [f"{account}{end}" for end in ("0", ".", "-1", "_")]
    for points, number in enumerate([account, *near], 1):
        w.earned(number, points)
    w.spent(account, 1)
    equal(
        "available",
        [w.api.available(number) for number in (account, *near)],
        [0, 2, 3, 4, 5],
        w.last_exchange,
    )


@case(needs=[Capability.ACCOUNT_NUMBER_CASE])
def the_case_of_an_account_number_counts(w: World) -> None:
    """Numbers that differ only in the case of a letter are two accounts."""
    account = w.account()
    w.earned(account, 10)
    w.earned(account.upper(), 5)
    equal("available", [w.api.available(n) for n in (account, account.upper())], [10, 5], w.last_exchange)


@case(needs=[Capability.LONG_ACCOUNT_NUMBERS])
def an_account_number_may_have_64_characters(w: World) -> None:
    """Up to 64 letters, digits and `._:-` name an account, all of them."""
    long = f"{w.account()}.A_z:9-".ljust(63, "x")
    w.earned(long + "1", 10)
    w.earned(long + "2", 5)
    equal("available", [w.api.available(long + end) for end in "12"], [10, 5], w.last_exchange)


@case()
def a_reference_may_have_64_characters_and_come_again(w: World) -> None:
    """A reference has up to 64 characters, and many operations may share it."""
    account, reference = w.account(), f"{w.reference()}:A_z.9-".ljust(64, "r")
    made = [w.earned(account, 10, reference=reference), w.spent(account, 4, reference=reference)]
    equal("references", [each["reference"] for each in made], [reference] * 2, w.last_exchange)


@case()
def who_was_told_of_a_write_reads_it(w: World) -> None:
    """A balance read after an answer has that write in it, every time."""
    account, available = w.account(), 0
    for points in range(1, 16):
        w.earned(account, 2 * points)
        w.has(account, available := available + 2 * points)
        w.spent(account, points)
        w.has(account, available := available - points)
