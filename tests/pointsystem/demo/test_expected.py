"""The plain-Python reading of the services' log, told by one member's year."""

from datetime import date, datetime, time, timedelta
from typing import Any

from pointsystem.demo.expected import Expected, lapse_all, work_out
from pointsystem.demo.journal import Line
from pointsystem.demo.timeline import ZONE

ACCOUNT = "M-1"


def noon(day: date) -> datetime:
    return datetime.combine(day, time(12), tzinfo=ZONE)


JANUARY = noon(date(1997, 1, 10))


def line(kind: Any, operation_id: str, **values: Any) -> Line:
    given = {"at": JANUARY, "account_number": ACCOUNT, "status": 201, "key": f"key-{operation_id}", **values}
    return Line(kind=kind, operation_id=operation_id, **given)


FINISHED = Line(at=JANUARY, kind="finished", account_number="", status=0)


def worked_out(*lines: Line, until: datetime = JANUARY) -> Expected:
    expected = work_out(lines)
    lapse_all(expected, at=until)
    return expected


def test_points_lapse_when_the_365th_day_after_is_over() -> None:
    earned = line("earn", "e", points=300, available=300)
    last_moment = datetime.combine(date(1998, 1, 10), time(23, 59, 59), tzinfo=ZONE)
    assert worked_out(earned, until=last_moment).holdings[ACCOUNT].available == 300
    over = worked_out(earned, until=last_moment + timedelta(seconds=1))
    assert over.holdings[ACCOUNT].available == 0
    assert over.months["1998-01"]["expired"] == 300
    assert over.wrong_answers == []


def test_what_was_earned_first_is_spent_first_as_long_as_the_legacy_may_follow() -> None:
    soon = noon(date(1997, 2, 1))
    expected = worked_out(
        line("earn", "late", points=100, available=100),
        line("earn", "soon", at=JANUARY + timedelta(seconds=1), points=100, available=200, expires_at=soon),
        line("spend", "s", at=JANUARY + timedelta(seconds=2), points=150, available=50),
        until=soon,
    )
    assert expected.holdings[ACCOUNT].available == 0
    assert expected.totals() == {"issued": 200, "spent": 150, "expired": 50}
    assert expected.wrong_answers == []


def test_what_lapses_first_is_spent_first_and_given_back_last_once_the_ledger_stands_alone() -> None:
    soon = noon(date(1997, 2, 1))
    expected = worked_out(
        FINISHED,
        line("earn", "late", points=100, available=100),
        line("earn", "soon", points=100, available=200, expires_at=soon),
        line("spend", "s", points=150, available=50),
        line("cancel", "c", cancels="s", points=60, available=110),
        until=soon,
    )
    # 50 came back to the late lot and 10 to the one that has lapsed since.
    assert expected.holdings[ACCOUNT].available == 100
    assert expected.totals() == {"issued": 200, "spent": 150, "restored": 60, "expired": 10}
    assert expected.wrong_answers == []


def test_points_that_come_back_after_they_lapsed_lapse_at_once() -> None:
    expected = worked_out(
        line("earn", "e", points=100, available=100, expires_at=noon(date(1997, 2, 1))),
        line("spend", "s", points=100, available=0),
        line("cancel", "c", at=noon(date(1997, 3, 1)), cancels="s", available=0),
        until=noon(date(1997, 3, 1)),
    )
    assert expected.months["1997-03"] == {"restored": 100, "expired": 100}
    assert expected.effects[ACCOUNT, "c"] == 100
    assert expected.wrong_answers == []


def test_an_earn_that_was_spent_is_not_cancelled_before_the_end() -> None:
    earned = line("earn", "a", points=100, available=100)
    spent = line("spend", "s", points=40, available=60)
    refused = {"status": 422, "code": "earn_already_spent", "cancels": "a"}
    assert worked_out(earned, spent, line("cancel", "c", **refused)).wrong_answers == []
    assert len(worked_out(earned, spent, line("cancel", "c", points=60, **refused)).wrong_answers) == 1
    assert len(worked_out(earned, spent, FINISHED, line("cancel", "c", **refused)).wrong_answers) == 1
    taken = line("cancel", "c", cancels="a", available=0)
    assert "points left of the earn is 60, expected 100" in worked_out(earned, spent, taken).wrong_answers[0]


def test_what_went_through_a_procedure_is_named_by_its_own_words() -> None:
    expected = worked_out(
        line("earn", "direct:earn:order-1", key=None, points=100, available=100),
        line("earn", "an-id", points=10, available=110),
    )
    assert expected.through_api == {"an-id"}
    assert expected.effects == {(ACCOUNT, "direct:earn:order-1"): 100, (ACCOUNT, "an-id"): 10}


def test_a_cancelled_earn_takes_its_own_lot_then_others_and_leaves_the_rest_uncollected() -> None:
    expected = worked_out(
        FINISHED,
        line("earn", "a", points=100, available=100),
        line("spend", "s", points=100, available=0),
        line("earn", "b", points=30, available=30),
        line("cancel", "c", cancels="a", available=0, uncollected_points=70),
    )
    assert expected.totals() == {"issued": 130, "spent": 100, "cancelled": 30}
    assert expected.wrong_answers == []


def test_another_answer_than_expected_is_named() -> None:
    wrong = worked_out(line("earn", "e", points=100, available=101))
    assert wrong.wrong_answers == [
        "earn on M-1 at 1997-01-10: balance_after is 101, expected 100",
    ]


def test_a_refusal_is_wrong_when_there_were_points_enough() -> None:
    refused = {"status": 422, "code": "insufficient_points"}
    earned = line("earn", "e", points=100, available=100)
    assert worked_out(earned, line("spend", "s", points=101, **refused)).wrong_answers == []
    assert len(worked_out(earned, line("spend", "s", points=100, **refused)).wrong_answers) == 1


def test_a_repeat_must_be_the_first_operation_again_and_say_so() -> None:
    earned = line("earn", "e", points=100, available=100)
    good = line("repeat", "e", is_replayed=True)
    second_effect = Line(
        at=JANUARY, kind="repeat", account_number=ACCOUNT, status=201, key="key-e", operation_id="f"
    )
    assert worked_out(earned, good).wrong_repeats == []
    assert worked_out(earned, second_effect).wrong_repeats == ["key-e: 201, operation f"]


def test_a_gift_is_refused_until_the_cutover_is_finished_and_never_after() -> None:
    earned = line("earn", "e", points=100, available=100)
    given = {"points": 40, "to_account_number": "M-2", "status": 409, "code": "not_available_in_stage"}
    refused = line("transfer", "t", **given)
    assert worked_out(earned, refused).wrong_answers == []
    assert worked_out(earned, refused).holdings[ACCOUNT].available == 100
    assert len(worked_out(earned, FINISHED, refused).wrong_answers) == 1


def test_gifts_keep_their_expiry() -> None:
    soon = noon(date(1997, 2, 1))
    expected = worked_out(
        FINISHED,
        line("earn", "e", points=100, available=100, expires_at=soon),
        line("transfer", "t", points=40, to_account_number="M-2", available=60),
        until=soon,
    )
    assert expected.totals() == {"issued": 100, "given": 40, "received": 40, "expired": 100}
    assert expected.effects == {(ACCOUNT, "e"): 100, (ACCOUNT, "t"): -40, ("M-2", "t"): 40}
