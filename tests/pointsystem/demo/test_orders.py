"""The orders of the file, counted without the demo's own reader."""

from datetime import date, timedelta

from pointsystem.demo.orders import ORDERS_FILE, read_orders
from pointsystem.demo.timeline import plan


def test_reads_every_order_of_the_sample() -> None:
    orders = read_orders()
    rows = [line.split() for line in ORDERS_FILE.read_text().splitlines()]
    assert len(orders) == len(rows) == 6919
    assert len({order.account_number for order in orders}) == 2357
    assert sum(order.cents for order in orders) == sum(int(row[4].replace(".", "")) for row in rows)
    assert (orders[0].account_number, orders[0].day, orders[0].cents) == ("CD-0001", date(1997, 1, 1), 2933)


def test_an_order_earns_one_point_for_every_full_ten_cents() -> None:
    orders = read_orders()
    assert orders[0].points == 293
    assert {order.points for order in orders if order.cents < 10} == {0}


def test_the_days_hold_every_order_once_and_returns_after_their_orders() -> None:
    orders = read_orders()
    days = plan(orders)
    assert (days[0].date, days[-1].date, len(days)) == (date(1997, 1, 1), date(1998, 6, 30), 546)
    placed = [order.number for day in days for orders_of in day.orders.values() for order in orders_of]
    assert sorted(placed) == [order.number for order in orders]
    returns = [(day, one) for day in days for returned in day.returns.values() for one in returned]
    assert len(returns) > 500
    assert all(day.date == one.order.day + one.after for day, one in returns)
    assert all(one.after >= timedelta(days=1) for _, one in returns)


def test_a_month_ends_with_an_expiry_run() -> None:
    days = plan(read_orders(limit=50))
    last_days = [day for day in days if (day.date + timedelta(days=1)).month != day.date.month]
    assert len(last_days) == 18
    assert all(day.has_expiry_run for day in last_days)
