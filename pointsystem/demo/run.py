"""One run from the first call to the report."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ledger import clock
from ledger.clients import create_client
from pointsystem.demo import cutover_proofs, picture, proofs, report, sides
from pointsystem.demo.control import ControlRoom, StepFailed
from pointsystem.demo.expected import lapse_all, work_out
from pointsystem.demo.journal import Journal, read_journal
from pointsystem.demo.orders import Order, read_orders
from pointsystem.demo.procedures import ProcedureFailed
from pointsystem.demo.progress import Progress
from pointsystem.demo.pulse import Till
from pointsystem.demo.replay import Replay
from pointsystem.demo.services import SCOPES
from pointsystem.demo.story import API_OPENS, Story
from pointsystem.demo.timeline import Day, plan
from pointsystem.demo.traffic import Traffic, Unanswered
from pointsystem.demo.world import NotSettled, World

EXIT_DONE: Final = 0
EXIT_FOUND_SOMETHING_WRONG: Final = 1

#: What a day costs beside its orders, in orders, for the share that is done.
_DAY_IN_ORDERS: Final = 3
#: What an order costs through the API, with all that goes on beside it, in those through procedures.
_API_IN_PROCEDURES: Final = 8


def run(*, base_url: str, report_dir: Path, callers: int, orders_limit: int | None) -> int:
    """Play the story, prove and report; the exit code."""
    orders = read_orders(limit=orders_limit)
    days = plan(orders)
    keys = {name: create_client(name=name, scopes=scopes).key for name, scopes in SCOPES.items()}
    traffic = Traffic(base_url=base_url, keys=keys, legacy_url=sides.legacy_url(), callers=callers)
    try:
        is_part = orders_limit is not None
        return _run(traffic, orders=orders, days=days, report_dir=report_dir, is_part=is_part)
    except (Unanswered, NotSettled, StepFailed, ProcedureFailed) as error:
        print(f"\n{error}\nNOT PROVED: the run could not be finished.", flush=True)
        return EXIT_FOUND_SOMETHING_WRONG
    finally:
        traffic.close()


def _run(
    traffic: Traffic, *, orders: Sequence[Order], days: Sequence[Day], report_dir: Path, is_part: bool
) -> int:
    journal_path = report_dir / "client-log.jsonl"
    accounts = {order.account_number for order in orders}
    what = f"{len(orders):,} orders of {len(accounts):,} customers"
    _say(f"Playing {what}, {days[0].date} to {days[-1].date}, {traffic.callers} clients at once")
    story, seconds = _play(traffic, orders=orders, days=days, journal_path=journal_path)
    requests = traffic.measured().exchanges
    _say("Reading every balance and every history, and working the services' log out again")
    expected = work_out(read_journal(journal_path))
    lapse_all(expected, at=clock.now())
    served = proofs.read_everything(traffic, sorted(expected.holdings), through_api=expected.through_api)
    measured = traffic.measured()
    finished = report.Run(
        orders=len(orders),
        callers=traffic.callers,
        seconds=seconds,
        requests=requests,
        measured=measured,
        expected=expected,
        served=served,
        pauses=cutover_proofs.pauses(story.control, measured),
        lags=cutover_proofs.lags(),
        cancelled=story.cancelled,
        proofs=[
            *cutover_proofs.prove(story=story, is_part=is_part),
            *proofs.prove(expected=expected, served=served),
        ],
    )
    _write(finished, report_dir)
    return EXIT_DONE if finished.has_succeeded else EXIT_FOUND_SOMETHING_WRONG


def _play(
    traffic: Traffic, *, orders: Sequence[Order], days: Sequence[Day], journal_path: Path
) -> tuple[Story, float]:
    """What happened, and how many seconds it took."""
    work = {day.date: _work_on(day) for day in days}
    progress = Progress(total=sum(work.values()))
    done = orders_done = 0

    def say_done(day: Day) -> None:
        nonlocal done, orders_done
        done += work[day.date]
        orders_done += _orders_on(day)
        progress.advance(done=done, label=day.month, text=f"{orders_done:,} of {len(orders):,} orders")

    journal = Journal(journal_path)
    world = World(sides.legacy_url())
    replay = Replay(traffic=traffic, journal=journal, world=world, say_done=say_done)
    till = Till(traffic=traffic, journal=journal, world=world)
    control = ControlRoom(lambda text: progress.say(f"{world.now:%Y-%m-%d}  {text}"))
    story = Story(replay=replay, control=control, till=till, say=control.say)
    started = time.monotonic()
    try:
        replay.play(days, story)
        story.end()
        till.look_at_accepted(traffic.caller())
    finally:
        till.stop()
        control.close()
        world.close()
        journal.close()
    seconds = time.monotonic() - started
    progress.end(f"{len(orders):,} orders played, {till.customers:,} customers at the till: {seconds:.1f} s")
    return story, seconds


def _work_on(day: Day) -> int:
    """What a day costs, in orders of the time before the API."""
    orders = _DAY_IN_ORDERS * bool(day.account_numbers) + _orders_on(day)
    return orders if day.date < API_OPENS else _API_IN_PROCEDURES * orders


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
