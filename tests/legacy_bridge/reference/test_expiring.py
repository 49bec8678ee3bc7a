"""Lapsed points, and the nightly job that takes them away."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any


def _run_job(reference: Any, until: str) -> tuple[Any, ...]:
    from legacy_bridge.calling import Out, call_procedure
    from legacy_bridge.sessions import session

    with session() as opened:
        code, _, *counts = call_procedure(
            opened,
            f"{reference.schema}PR_POINT_EXPIRE",
            [datetime.fromisoformat(until), "BATCH", Out(), Out(), Out(), Out(), Out()],
        )
    return (code, *counts)


def test_the_job_takes_what_has_lapsed_once(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, points_of, refused, stand_at

    # Before all the lots of other tests, so that the counts are those of these two members.
    first, second = Member(reference), Member(reference)
    stand_at("2001-01-01 00:00")
    first.earn(100, until="2001-02-01 00:00")
    first.earn(50, until="2001-02-01 00:00")
    first.earn(30, until=None)
    second.earn(10, until="2001-02-02 00:00")
    spend = first.spend(120)

    stand_at("2001-01-31 23:59:59")
    assert first.available == 60
    assert _run_job(reference, "2001-01-31 23:59:59") == ("S", 0, 0, 0)
    stand_at("2001-02-01 00:00")
    assert (first.available, [lot.points for lot in first.lots()]) == (30, [30])
    assert refused(first.spend, 31) is not None

    stand_at("2001-02-01 03:00")
    assert _run_job(reference, "2001-02-01 03:00") == ("S", 1, 1, 30)
    assert _run_job(reference, "2001-02-01 03:00") == ("S", 0, 0, 0)
    (row, *_) = first.history()
    assert (row.kind.value, row.points, row.balance_after) == ("expire", -30, 30)
    assert (row.procedure, row.caller, row.reason) == ("PR_POINT_EXPIRE", "BATCH", None)

    # Given back into lapsed lots: seen in the history, never spendable, and taken away in the next night.
    back = first.cancel_spend(spend, 110)
    assert (points_of(back), back.balance_after) == ([20, 90], 30)
    assert refused(first.spend, 31) is not None
    stand_at("2001-02-02 03:00")
    assert _run_job(reference, "2001-02-02 03:00") == ("S", 2, 3, 120)
    assert first.remaining == [0, 0, 30]
    assert [(share.points) for share in first.history()[0].shares or ()] == [90, 20]
    assert second.story[-1] == ("expire", -10, 0)
    assert sum(points for _, points, _ in first.story) == 30


def test_the_job_does_not_run_ahead_of_time(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, stand_at

    member = Member(reference)
    stand_at("2001-03-01 00:00")
    member.earn(10, until="2001-03-02 00:00")

    assert _run_job(reference, "2001-03-03 00:00")[0] == "E08"
    assert member.available == 10


def test_the_job_runs_beside_those_who_spend(reference: Any, settings: Any) -> None:
    from legacy_bridge import sessions
    from tests.legacy_bridge.reference.member import Member, stand_at

    settings.POINTS_LEGACY_MOST_CALLS = 20
    sessions.forget()
    members = [Member(reference) for _ in range(8)]
    stand_at("2003-01-01 00:00")
    _run_job(reference, "2003-01-01 00:00")
    spends = []
    for member in members:
        for _ in range(5):
            member.earn(10, until="2003-02-01 00:00")
        member.earn(1000, until=None)
        spends.append(member.spend(45))
    stand_at("2003-02-01 03:00")

    def use(number: int) -> None:
        member, spend = members[number], spends[number]
        for _ in range(9):
            member.cancel_spend(spend, 5)
            member.spend(7)
        sessions.forget()

    def expire() -> int:
        taken = sum(_run_job(reference, "2003-02-01 03:00")[3] for _ in range(10))
        sessions.forget()
        return taken

    with ThreadPoolExecutor(9) as pool:
        job = pool.submit(expire)
        for future in [pool.submit(use, number) for number in range(8)]:
            future.result()
    last = _run_job(reference, "2003-02-01 03:00")

    # Five lots of ten lapse whole: five points were never used, the others came back too late.
    assert job.result() + last[3] == 8 * 50
    for member in members:
        assert member.available == 1000 - 9 * 7
        assert sum(points for _, points, _ in member.story) == member.available
        assert member.remaining == [0, 0, 0, 0, 0, 1000 - 9 * 7]


def test_statistics_of_a_month(reference: Any) -> None:
    from legacy_bridge.calling import Out, call_procedure
    from legacy_bridge.sessions import session
    from tests.legacy_bridge.reference.member import Member, run_query, stand_at

    member = Member(reference)
    stand_at("2002-04-01 00:00")
    earn = member.earn(100)
    member.earn(50, reason="EVENT")
    stand_at("2002-04-30 23:59:59.999999")
    spend = member.spend(60)
    member.cancel_earn(earn, 40)
    stand_at("2002-05-01 00:00")
    member.cancel_spend(spend, 60)

    for month, count in (("200204", 4), ("200205", 1), ("200204", 4), ("209912", 0)):
        with session() as opened:
            answer = call_procedure(
                opened, f"{reference.schema}PR_POINT_STAT_MONTH", [month, Out(), Out(), Out()]
            )
        assert answer == ("S", "OK", count)
    assert run_query(
        f"SELECT HIST_CD, TYPE_CD, CNT, AMT FROM {reference.schema}PT_STAT_MONTH WHERE STAT_YM = '200204'"
        " ORDER BY HIST_CD, TYPE_CD"
    ) == [("SC", "31", 1, -40), ("SV", "11", 1, 100), ("SV", "13", 1, 50), ("US", "21", 1, -60)]
