"""The fast way of a plain history and the careful one come to the same, byte for byte, whatever the history.

Each drawn history is brought both ways, each time in a transaction that is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutover import identifiers
from cutover.migrating import importing, plain
from ledger.database import fetch_all
from legacy_bridge import configured
from legacy_bridge.records import HistoryRow, LegacyLot, RowKind, Share
from legacy_bridge.unhurried import unhurried_session
from tests.cutover import sides
from tests.cutover.legacy_calls import call_directly
from tests.cutover.migrating.by_hand import bring, lot, member, row
from tests.factories import account_number

pytestmark = pytest.mark.usefixtures("legacy")

# What says when it was written, and numbers that are given out in turn, are left out.
_WRITTEN = {
    "operations": """
        SELECT id, client_id, idempotency_key, fingerprint, kind, state, account_number, to_account_number,
            points, reason_id, reference, occurred_at, recorded_at, cancels_id, balance_after,
            uncollected_points, metadata, refusal, actor, decided_elsewhere, counterpart_id, stage, epoch,
            shares::text
        FROM ledger_operation WHERE account_number = %s ORDER BY id""",
    "accounts": """
        SELECT opened_at, status, sequence, balance, outstanding_debt, next_expiry_at, last_recorded_at
        FROM ledger_account WHERE account_number = %s""",
    "entries": """
        SELECT entry.id, entry.sequence, entry.operation_id, entry.kind, entry.points, entry.balance_after,
            entry.recorded_at
        FROM ledger_entry AS entry JOIN ledger_account AS account ON account.id = entry.account_id
        WHERE account.account_number = %s ORDER BY entry.sequence""",
    "lots": """
        SELECT lot.id, lot.entry_id, lot.points, lot.earned_at, lot.expires_at, lot.reason_id, lot.policy_id,
            lot.origin_id
        FROM ledger_lot AS lot JOIN ledger_account AS account ON account.id = lot.account_id
        WHERE account.account_number = %s ORDER BY lot.id""",
    "allocations": """
        SELECT allocation.entry_id, allocation.position, allocation.lot_id, allocation.points
        FROM ledger_allocation AS allocation JOIN ledger_entry AS entry ON entry.id = allocation.entry_id
        JOIN ledger_account AS account ON account.id = entry.account_id
        WHERE account.account_number = %s ORDER BY 1, 2""",
    "open lots": """
        SELECT open.lot_id, open.remaining, open.points, open.earned_at, open.expires_at
        FROM ledger_open_lot AS open JOIN ledger_account AS account ON account.id = open.account_id
        WHERE account.account_number = %s ORDER BY 1""",
    "marks": """
        SELECT stale.sequence FROM ledger_stale_balance AS stale
        JOIN ledger_account AS account ON account.id = stale.account_id
        WHERE account.account_number = %s""",
    "positions": """
        SELECT position, imported_at IS NOT NULL FROM cutover_followed_account WHERE account_number = %s""",
    "mismatches": """
        SELECT subject, difference, said::text, why FROM cutover_mismatch
        WHERE account_number = %s ORDER BY 1, 4""",
    "guesses": """
        SELECT guess.operation_id FROM cutover_reconstruction AS guess
        JOIN ledger_operation AS operation ON operation.id = guess.operation_id
        WHERE operation.account_number = %s ORDER BY 1""",
}


class _TakenBack(Exception):
    pass


@contextmanager
def taken_back() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise _TakenBack
    except _TakenBack:
        pass


def written(number: str) -> dict[str, Any]:
    return {name: fetch_all(query, [number]) for name, query in _WRITTEN.items()}


def both_ways(batch: importing.Batch, number: str) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """What is written by the careful way and by the fast one, and whether that one was fit to be taken."""
    histories = plain.histories_of(
        batch.rows, batch.lots, account_numbers=[number], reasons=importing.reasons()
    )
    ways = []
    for fit in ({}, histories):
        with taken_back():
            prepared = importing.Prepared(after={number: None}, batch=batch, plain=fit)
            importing.write(prepared, and_note=lambda imported: None)
            ways.append(without_now(written(number)))
    return ways[0], ways[1], bool(histories)


def without_now(found: dict[str, Any]) -> dict[str, Any]:
    """Corrections at the end of a history are of the moment of their import."""
    adjusts = {line[2] for line in found["entries"] if line[3] == "adjust"}
    found["entries"] = [line[:-1] if line[3] == "adjust" else line for line in found["entries"]]
    found["operations"] = [
        (*line[:12], None, *line[13:]) if line[0] in adjusts else line for line in found["operations"]
    ]
    if adjusts:
        found["accounts"] = [line[:-1] for line in found["accounts"]]
        found["lots"] = [(*line[:3], *line[4:]) for line in found["lots"]]
        found["open lots"] = [(*line[:3], *line[4:]) for line in found["open lots"]]
    return found


def read(number: str) -> importing.Batch:
    with unhurried_session() as session:
        after = {number: None}
        return importing.prepare(after, session=session, reasons=importing.reasons()).batch


def test_ids_as_text_are_the_ids() -> None:
    names = ["1", "987654", "행-1", "a:b"]
    assert [identifiers.operation_text(name) for name in names] == [
        str(identifiers.operation_id(name)) for name in names
    ]
    assert [identifiers.entry_text(name) for name in names] == [
        str(identifiers.entry_id(name)) for name in names
    ]
    assert [identifiers.lot_text(name) for name in names] == [str(identifiers.lot_id(name)) for name in names]


# --- histories as the legacy's own procedures make them ----------------------------------------------------
def test_a_life_through_the_procedures_is_plain_and_the_same_both_ways() -> None:
    number = account_number()
    earned = call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    call_directly("PR_POINT_EARN", number, "13", 50, "G", None)
    spend = call_directly("PR_POINT_USE", number, "21", 120)
    call_directly("PR_POINT_USE_CANCEL", number, spend, 30, "31")
    call_directly("PR_POINT_USE_CANCEL", number, spend, 90, "31")
    call_directly("PR_POINT_EARN_CANCEL", number, earned, 40, "31")

    careful, fast, is_plain = both_ways(read(number), number)

    assert is_plain
    assert len(careful["entries"]) == 6
    assert fast == careful
    bring(number)
    assert without_now(written(number)) == fast


def test_what_history_does_not_explain_is_not_plain() -> None:
    number = member(account_number())
    kept = lot(number, 100, 80)
    row(number, "SV", 100, (kept, 100))
    row(number, "US", -50, (kept, -50))

    careful, fast, is_plain = both_ways(read(number), number)

    assert not is_plain
    assert [line[3] for line in careful["entries"]] == ["earn", "spend", "adjust"]
    assert fast == careful
    bring(number)


def test_an_account_that_is_open_in_the_ledger_goes_the_careful_way() -> None:
    from ledger.locks import open_accounts

    number = account_number()
    call_directly("PR_POINT_EARN", number, "11", 100, "D", None)
    batch = read(number)
    (opened_at,) = {row.recorded_at for row in batch.rows}
    open_accounts([number], now=opened_at)

    careful, fast, is_plain = both_ways(batch, number)

    assert is_plain
    assert fast == careful
    bring(number)
    sides.assert_equal(number)


# --- drawn ones -------------------------------------------------------------------------------------------
_KINDS = {"SV": RowKind.EARN, "US": RowKind.SPEND, "SC": RowKind.EARN_CANCEL, "UC": RowKind.SPEND_CANCEL}
_KINDS |= {"EX": RowKind.EXPIRE, "AD": RowKind.ADJUST}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Steps of a life, most of them true to what was there before, some not; and what is kept at its end."""
    left: dict[int, int] = {}
    steps: list[dict[str, Any]] = []
    spends: list[tuple[int, dict[int, int]]] = []
    for place in range(draw(st.integers(1, 9))):
        code = draw(st.sampled_from(["SV", "SV", "US", "US", "UC", "SC", "EX", "AD"]))
        open_lots = [each for each, points in left.items() if points]
        step: dict[str, Any] = {"code": code, "cancels": None, "reason": draw(st.sampled_from(_REASONS))}
        if code == "SV":
            moved = {len(left): draw(st.integers(1, 50))}
        elif code == "UC" and spends:
            step["cancels"], taken = draw(st.sampled_from(spends))
            moved = {each: draw(st.integers(1, points)) for each, points in taken.items()}
        elif open_lots:
            some = draw(st.lists(st.sampled_from(open_lots), min_size=1, max_size=3, unique=True))
            moved = {each: -draw(st.integers(1, left[each])) for each in some}
        else:
            continue
        if code == "US":
            spends.append((place, {each: -points for each, points in moved.items()}))
        for each, points in moved.items():
            left[each] = left.get(each, 0) + points
        step.update(moved=moved, place=place, flaw=draw(st.sampled_from(_FLAWS)))
        steps.append(step)
    kept = {each: points + draw(st.sampled_from([0] * 8 + [-1, 1])) for each, points in left.items()}
    return steps, kept


_REASONS = ["ORDER_REWARD", "EVENT", "ORDER_PAYMENT", None]
#: What may be wrong with a row; nearly always nothing.
_FLAWS = ["none"] * 14 + ["silent", "other sum", "sign", "unknown lot", "cancels nothing", "late"]


def batch_of(number: str, steps: list[dict[str, Any]], kept: dict[int, int]) -> importing.Batch:
    from datetime import UTC, datetime

    first = datetime(2026, 1, 10, tzinfo=UTC)
    name = f"{number}-{{}}".format
    expiry = {each: None if each % 3 == 0 else first + timedelta(days=20 + each) for each in kept}
    granted: dict[int, tuple[int, datetime]] = {}
    rows = []
    for step in steps:
        at = first + timedelta(days=step["place"] + (60 if step["flaw"] == "late" else 0))
        points = sum(step["moved"].values())
        if step["code"] == "SV":
            ((each, _),) = step["moved"].items()
            granted[each] = (points, at)
        shares: Any = tuple(
            Share(
                lot_id=name("gone" if step["flaw"] == "unknown lot" else each),
                points=abs(part),
                expires_at=expiry[each],
            )
            for each, part in step["moved"].items()
        )
        rows.append(
            HistoryRow(
                row_id=name(f"row-{step['place']}"),
                account_number=number,
                kind=_KINDS[step["code"]],
                points={"other sum": points + 1, "sign": -points}.get(step["flaw"], points),
                recorded_at=at,
                balance_after=points,
                reason=step["reason"],
                reference="tab\tand\\back\nslash" if step["place"] == 3 else f"order-{step['place']}",
                cancels_row_id=name("nothing")
                if step["flaw"] == "cancels nothing"
                else None
                if step["cancels"] is None
                else name(f"row-{step['cancels']}"),
                shares=None if step["flaw"] == "silent" else shares,
            )
        )
    lots = [
        LegacyLot(
            lot_id=name(each),
            points=granted[each][0],
            remaining=kept[each],
            earned_at=granted[each][1],
            expires_at=expiry[each],
            reason="ORDER_REWARD",
        )
        for each in kept
    ]
    none = frozenset[str]()
    return importing.Batch(rows=rows, lots={number: lots}, has_lots=True, cut=none, unread=none)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=histories())
def test_any_history_is_the_same_both_ways(drawn: tuple[list[dict[str, Any]], dict[int, int]]) -> None:
    number = account_number()
    assert configured.adapter().tells_shares
    batch = batch_of(number, *drawn)

    careful, fast, is_plain = both_ways(batch, number)

    assert fast == careful
    # Whatever is posted as it is told needs nobody to look at it.
    assert not (is_plain and (careful["mismatches"] or careful["guesses"]))


def test_most_drawn_histories_are_plain() -> None:
    found: list[bool] = []

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(drawn=histories())
    def look(drawn: tuple[list[dict[str, Any]], dict[int, int]]) -> None:
        number = account_number()
        batch = batch_of(number, *drawn)
        reasons = importing.reasons()
        found.append(
            bool(plain.histories_of(batch.rows, batch.lots, account_numbers=[number], reasons=reasons))
        )

    look()
    assert 20 < sum(found) < len(found)
