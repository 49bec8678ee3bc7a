"""Generated history is consistent, whatever its size; with flaws, exactly the flawed members are not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tests.legacy_bridge.conftest import LegacyDatabase


def _generate(**options: Any) -> Any:
    from legacy_bridge.reference.generating import generate
    from legacy_bridge.unhurried import unhurried_session

    with unhurried_session() as opened:
        return generate(opened, **options)


def _inconsistent(reference: Any, seed: int) -> dict[str, set[str]]:
    """Members of a seed of whom something does not add up, by what it is."""
    from tests.legacy_bridge.reference.member import run_query

    schema, like = reference.schema, f"G{seed:04d}-%"
    checks = {
        "what is left in a lot is what its rows moved": f"""
            SELECT DISTINCT l.MBR_NO FROM {schema}PT_LOT l LEFT JOIN (
                SELECT LOT_SEQ, SUM(AMT) AS AMT FROM {schema}PT_HIST_LOT GROUP BY LOT_SEQ
            ) m ON m.LOT_SEQ = l.LOT_SEQ
            WHERE l.MBR_NO LIKE %s
              AND (l.REMAIN_AMT <> COALESCE(m.AMT, 0) OR l.REMAIN_AMT < 0 OR l.REMAIN_AMT > l.SAVE_AMT)""",
        "a row moved what its lots say": f"""
            SELECT DISTINCT h.MBR_NO FROM {schema}PT_HIST h LEFT JOIN (
                SELECT HIST_SEQ, SUM(AMT) AS AMT FROM {schema}PT_HIST_LOT GROUP BY HIST_SEQ
            ) m ON m.HIST_SEQ = h.HIST_SEQ
            WHERE h.MBR_NO LIKE %s AND h.AMT <> COALESCE(m.AMT, 0)""",
        "the balance after a row is the sum up to it": f"""
            SELECT DISTINCT MBR_NO FROM (
                SELECT MBR_NO, BAL_AMT, SUM(AMT) OVER (PARTITION BY MBR_NO ORDER BY HIST_SEQ) AS AMT
                  FROM {schema}PT_HIST) h
            WHERE MBR_NO LIKE %s AND BAL_AMT <> AMT""",
        "rows come in the order of time": f"""
            SELECT DISTINCT MBR_NO FROM (
                SELECT MBR_NO, REG_DTM,
                       LAG(REG_DTM) OVER (PARTITION BY MBR_NO ORDER BY HIST_SEQ) AS BEFORE_DTM
                  FROM {schema}PT_HIST) h
            WHERE MBR_NO LIKE %s AND REG_DTM < BEFORE_DTM""",
        "no lot is touched after it lapsed, but by the job": f"""
            SELECT DISTINCT h.MBR_NO FROM {schema}PT_HIST h
              JOIN {schema}PT_HIST_LOT m ON m.HIST_SEQ = h.HIST_SEQ
              JOIN {schema}PT_LOT l ON l.LOT_SEQ = m.LOT_SEQ
             WHERE h.MBR_NO LIKE %s
               AND ((h.HIST_CD <> 'EX' AND h.REG_DTM >= l.EXPIRE_DTM)
                 OR (h.HIST_CD = 'EX' AND h.REG_DTM < l.EXPIRE_DTM))""",
        "a cancel moves no more than what it cancels": f"""
            SELECT DISTINCT c.MBR_NO FROM {schema}PT_HIST c JOIN {schema}PT_HIST o ON o.HIST_SEQ = c.ORG_SEQ
             WHERE c.MBR_NO LIKE %s AND (c.MBR_NO <> o.MBR_NO OR ABS(c.AMT) > ABS(o.AMT) OR c.AMT * o.AMT >= 0
                OR o.HIST_CD <> CASE c.HIST_CD WHEN 'UC' THEN 'US' WHEN 'SC' THEN 'SV' END)""",
    }
    found = {name: {row[0].rstrip() for row in run_query(query, [like])} for name, query in checks.items()}
    return {name: members for name, members in found.items() if members}


def test_generated_history_is_consistent(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import Member, run_query

    made = _generate(accounts=200, rows=6000, seed=7)

    assert made.members == 200
    assert 4500 <= made.rows <= 7500
    assert made.flawed == 0
    assert _inconsistent(reference, 7) == {}
    kinds = run_query(
        f"SELECT HIST_CD, COUNT(*) FROM {reference.schema}PT_HIST WHERE MBR_NO LIKE 'G0007-%%'"
        " AND MBR_NO LIKE %s GROUP BY HIST_CD",
        ["G%"],
    )
    assert {kind.strip() for kind, _ in kinds} == {"SV", "US", "UC", "SC", "EX"}
    assert sum(count for _, count in kinds) == made.rows

    # A generated member goes on like any other.
    member = Member(reference, "G0007-000000001")
    before = member.available
    earned = member.earn(1000)
    spent = member.spend(before + 400)
    assert (earned.balance_after, spent.balance_after) == (before + 1000, 600)
    assert member.cancel_spend(spent, before + 400).balance_after == before + 1000
    assert _inconsistent(reference, 7) == {}


def test_a_spend_took_what_was_saved_first(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import run_query

    _generate(accounts=50, rows=1500, seed=8)

    schema = reference.schema
    rows = run_query(
        f"SELECT h.MBR_NO, h.HIST_CD, m.LOT_SEQ, m.AMT FROM {schema}PT_HIST h"
        f" JOIN {schema}PT_HIST_LOT m ON m.HIST_SEQ = h.HIST_SEQ"
        " WHERE h.MBR_NO LIKE %s ORDER BY h.HIST_SEQ, m.ORD_NO",
        ["G0008-%"],
    )
    left: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    spends = 0
    for member, kind, lot, points in rows:
        # Lots are numbered as they were saved.
        if kind == "US":
            spends += 1
            assert [other for other, rest in left[member].items() if rest and other < lot] == []
        left[member][lot] += points
    assert spends > 200


def test_the_same_seed_makes_the_same_members_on_both_servers(legacy_database: LegacyDatabase) -> None:
    from legacy_bridge.reference import ReferenceAdapter
    from tests.legacy_bridge.conftest import install_reference
    from tests.legacy_bridge.reference.member import Member, stand_at

    stories = []
    for vendor in ("postgresql", "mariadb"):
        legacy_database(vendor, prepare=install_reference)
        adapter = ReferenceAdapter()
        stand_at("2026-06-01 12:00")
        _generate(accounts=20, rows=400, seed=9)
        stories.append(
            [
                [(row.kind, row.points, row.recorded_at) for row in member.history()]
                for member in (Member(adapter, f"G0009-{number:09d}") for number in range(1, 21))
            ]
        )
    assert stories[0] == stories[1]
    assert all(stories[0])


def test_flawed_members_do_not_add_up(reference: Any) -> None:
    from tests.legacy_bridge.reference.member import run_query

    made = _generate(accounts=300, rows=3000, seed=10, flawed_share=0.1)

    found = _inconsistent(reference, 10)
    assert 15 <= made.flawed <= 50
    assert len(set().union(*found.values())) == made.flawed
    assert run_query(f"SELECT COUNT(*) FROM {reference.schema}PT_MBR WHERE MBR_NO LIKE %s", ["G0010-%"]) == [
        (300,)
    ]


def test_a_seed_is_made_once(reference: Any) -> None:
    import pytest

    from legacy_bridge.reference.generating import AlreadyGenerated

    _generate(accounts=1, rows=10, seed=11)
    with pytest.raises(AlreadyGenerated):
        _generate(accounts=2, rows=10, seed=11)
