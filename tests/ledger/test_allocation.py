from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.allocation import LotState, give_back, take, total

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def lot(number: int, remaining: int, *, days: int | None) -> LotState:
    return LotState(
        id=UUID(int=number),
        account_id=1,
        points=remaining,
        remaining=remaining,
        earned_at=NOW,
        expires_at=None if days is None else NOW + timedelta(days=days),
    )


@st.composite
def lots(draw: st.DrawFn) -> list[LotState]:
    made = draw(st.lists(st.tuples(st.integers(1, 50), st.none() | st.integers(-3, 9)), max_size=8))
    states = [lot(number, points, days=days) for number, (points, days) in enumerate(made)]
    return sorted(states, key=lambda state: state.spending_order)


@given(lots(), st.integers(1, 300))
def test_taking_takes_live_points_in_order_and_no_more(states: list[LotState], points: int) -> None:
    before = {state.id: state.remaining for state in states}
    live = sum(state.remaining for state in states if state.is_live(at=NOW))

    shares = take(lots=states, points=points, at=NOW)

    assert total(shares) == min(points, live)
    for share in shares:
        assert 0 < share.points <= before[share.lot.id]
        assert share.lot.is_live(at=NOW)
        assert share.lot.remaining == before[share.lot.id] - share.points
    # All but the last share empty their lot, and nothing live before the last one is left.
    assert all(share.lot.remaining == 0 for share in shares[:-1])
    order = [share.lot.spending_order for share in shares]
    assert order == sorted(order)


@given(lots(), st.integers(1, 200), st.data())
def test_taking_a_and_giving_back_b_is_taking_the_difference(
    states: list[LotState], points: int, data: st.DataObject
) -> None:
    twins = [lot_copy(state) for state in states]
    shares = take(lots=states, points=points, at=NOW)
    taken = [(share.lot.id, share.points) for share in shares]
    parts = []
    left = total(shares)
    while left and data.draw(st.booleans()):
        parts.append(data.draw(st.integers(1, left)))
        left -= parts[-1]
    by_id = {state.id: state for state in states}
    given_back = 0
    for part in parts:
        for lot_id, amount in give_back(taken=taken, already_given_back=given_back, points=part):
            by_id[lot_id].remaining += amount
        given_back += part

    take(lots=twins, points=total(shares) - given_back, at=NOW)

    assert [state.remaining for state in states] == [twin.remaining for twin in twins]


def test_more_than_was_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="1 points more"):
        give_back(taken=[(UUID(int=1), 5)], already_given_back=3, points=3)


def lot_copy(state: LotState) -> LotState:
    return LotState(
        id=state.id,
        account_id=state.account_id,
        points=state.points,
        remaining=state.remaining,
        earned_at=state.earned_at,
        expires_at=state.expires_at,
    )
