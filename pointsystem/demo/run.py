"""One run from the first request to the report."""

import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from ledger import clock, expiry
from ledger.clients import create_client
from ledger.tasks import expire_points
from pointsystem.demo import picture, report
from pointsystem.demo.expected import lapse_all, work_out
from pointsystem.demo.journal import Journal, read_journal
from pointsystem.demo.orders import Order, read_orders
from pointsystem.demo.progress import Progress
from pointsystem.demo.proofs import prove, read_everything
from pointsystem.demo.replay import NotSettled, Replay
from pointsystem.demo.services import SCOPES
from pointsystem.demo.timeline import Day, plan
from pointsystem.demo.traffic import Traffic, Unanswered

EXIT_DONE: Final = 0
EXIT_FOUND_SOMETHING_WRONG: Final = 1

_EXPIRY_SECONDS: Final = 60.0
_RING_AGAIN_SECONDS: Final = 10.0
#: What a day costs beside its orders, in orders, for the share that is done.
_DAY_IN_ORDERS: Final = 3


class PointSystem:
    """What only the demo may do to a point system: move its clock, and have it expire points at once."""

    def set_clock(self, instant: datetime) -> None:
        clock.set_simulated(instant=instant)

    def expire(self) -> None:
        """Ring for the expire worker, which beat does every hour, and wait for it. Raises NotSettled."""
        as_of = clock.now()
        started = time.monotonic()
        rung_at = None
        while expiry.count_lapsed(as_of=as_of):
            waited_seconds = time.monotonic() - started
            if waited_seconds > _EXPIRY_SECONDS:
                raise NotSettled(f"No worker posted what has expired within {_EXPIRY_SECONDS:.0f} s.")
            if rung_at is None or time.monotonic() - rung_at > _RING_AGAIN_SECONDS:
                expire_points.delay()
                rung_at = time.monotonic()
            time.sleep(0.02)


def run(*, base_url: str, report_dir: Path, callers: int, orders_limit: int | None) -> int:
    """Replay, prove and report; the exit code."""
    orders = read_orders(limit=orders_limit)
    days = plan(orders)
    journal_path = report_dir / "client-log.jsonl"
    keys = {name: create_client(name=name, scopes=scopes).key for name, scopes in SCOPES.items()}
    traffic = Traffic(base_url=base_url, keys=keys, callers=callers)
    try:
        return _run(traffic, orders=orders, days=days, journal_path=journal_path, report_dir=report_dir)
    except (Unanswered, NotSettled) as error:
        print(f"\n{error}\nNOT PROVED: the run could not be finished.", flush=True)
        return EXIT_FOUND_SOMETHING_WRONG
    finally:
        traffic.close()


def _run(
    traffic: Traffic, *, orders: Sequence[Order], days: Sequence[Day], journal_path: Path, report_dir: Path
) -> int:
    accounts = {order.account_number for order in orders}
    what = f"{len(orders):,} orders of {len(accounts):,} customers"
    _say(f"Replaying {what}, {days[0].date} to {days[-1].date}, {traffic.callers} clients at once")
    seconds, requests = _replay(traffic, orders=orders, days=days, journal_path=journal_path)
    _say("Reading every balance and every history, and working the services' log out again")
    expected = work_out(read_journal(journal_path))
    lapse_all(expected, at=clock.now())
    served = read_everything(traffic, sorted(expected.holdings))
    finished = report.Run(
        orders=len(orders),
        callers=traffic.callers,
        seconds=seconds,
        requests=requests,
        measured=traffic.measured(),
        expected=expected,
        served=served,
        proofs=prove(expected=expected, served=served),
    )
    _write(finished, report_dir)
    return EXIT_DONE if finished.has_succeeded else EXIT_FOUND_SOMETHING_WRONG


def _replay(
    traffic: Traffic, *, orders: Sequence[Order], days: Sequence[Day], journal_path: Path
) -> tuple[float, int]:
    """How many seconds it took, and how many requests."""
    work = {day.date: _DAY_IN_ORDERS * bool(day.account_numbers) + _orders_on(day) for day in days}
    progress = Progress(total=sum(work.values()))
    done = orders_done = 0

    def say_done(day: Day) -> None:
        nonlocal done, orders_done
        done += work[day.date]
        orders_done += _orders_on(day)
        progress.advance(done=done, label=day.month, text=f"{orders_done:,} of {len(orders):,} orders")

    journal = Journal(journal_path)
    started = time.monotonic()
    try:
        Replay(traffic=traffic, journal=journal, world=PointSystem(), say_done=say_done).play(days)
    finally:
        journal.close()
    seconds = time.monotonic() - started
    requests = traffic.measured().exchanges
    progress.end(f"{len(orders):,} orders replayed: {requests:,} requests in {seconds:.1f} s")
    return seconds, requests


def _orders_on(day: Day) -> int:
    return sum(map(len, day.orders.values()))


def _write(finished: report.Run, report_dir: Path) -> None:
    months: Mapping[str, Mapping[str, int]] = report.months_of(finished.served)
    drawn = picture.svg(
        months,
        title="Points issued, spent and expired by month",
        source="From the histories that the API gives. Orders: CDNOW sample, Fader and Hardie.",
    )
    (report_dir / "points-by-month.svg").write_text(drawn, encoding="utf-8")
    lines = report.lines(finished, out=sys.stdout)
    (report_dir / "report.txt").write_text("\n".join(lines).lstrip("\n") + "\n", encoding="utf-8")
    for line in lines:
        _say(line)
    _say("")
    for name, what in (
        ("points-by-month.svg", "picture"),
        ("report.txt", "report"),
        ("client-log.jsonl", "client-side log"),
    ):
        _say(f"  {what:<16} {report_dir / name}")


def _say(text: str) -> None:
    print(text, flush=True)
