"""What a run came to, as text for people. Figures are measured or summed; what is unknown is called so."""

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from pointsystem.demo import picture
from pointsystem.demo.cutover_proofs import Pause
from pointsystem.demo.expected import SIGNS, Expected
from pointsystem.demo.proofs import Proof, Served
from pointsystem.demo.report_figures import percentile
from pointsystem.demo.traffic import Measurements

TOP_ACCOUNTS: Final = 10
_VERDICTS: Final = {True: "holds", False: "BROKEN", None: "unknown"}
_TOTALS: Final = (
    ("issued", "earned by orders, reviews and events"),
    ("spent", "paid with"),
    ("restored", "given back when a payment was cancelled"),
    ("cancelled", "taken back when an order was cancelled"),
    ("expired", "lapsed"),
    ("given", "given to others"),
    ("received", "received from others"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the demo, done and looked into."""

    orders: int
    callers: int
    #: From the first request of the replay to its last, the waiting between days included.
    seconds: float
    requests: int
    measured: Measurements
    expected: Expected
    served: Served
    pauses: Sequence[Pause]
    #: By direction, in seconds: how long each operation was on its way to the side that followed.
    lags: Mapping[str, Sequence[float]]
    #: Spends by the age that they were made in and the stage that they were cancelled in.
    cancelled: Mapping[tuple[str, str], int]
    proofs: Sequence[Proof]

    @property
    def has_succeeded(self) -> bool:
        return all(proof.holds is True for proof in self.proofs)


def lines(run: Run, *, out: TextIO) -> list[str]:
    """The report. `out` is where it goes: its encoding decides what bars are drawn with."""
    blocks = [
        ("Points by month", picture.bars(months_of(run.served), out=out)),
        ("Totals, summed from the histories that the API gives", _totals(run.served)),
        (f"The {TOP_ACCOUNTS} accounts with the most points", _top(run.served)),
        ("Requests, measured at the clients", _requests(run)),
        ("What clients saw at each switch", _switches(run)),
        ("Payments given back", _cancels(run)),
        ("Proofs", _proofs(run.proofs)),
    ]
    together = []
    for heading, block in blocks:
        together += ["", heading, *(f"  {line}" for line in block)]
    return [*together, "", verdict(run)]


def verdict(run: Run) -> str:
    if run.has_succeeded:
        return "Every proof holds."
    broken = sum(proof.holds is False for proof in run.proofs)
    unknown = sum(proof.holds is None for proof in run.proofs)
    return f"NOT PROVED: {broken} broken, {unknown} unknown."


def months_of(served: Served) -> Mapping[str, Counter[str]]:
    """Every month from the first to the last that has anything in it."""
    if not served.months:
        return {}
    first, last = min(served.months), max(served.months)
    months = {}
    year, month = int(first[:4]), int(first[5:])
    while (name := f"{year:04d}-{month:02d}") <= last:
        months[name] = served.months.get(name, Counter())
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return months


def _totals(served: Served) -> list[str]:
    totals = served.totals()
    shown = [
        f"{name:<12}{SIGNS[name] * totals[name]:>+12,}  {meaning}"
        for name, meaning in _TOTALS
        if totals[name]
    ]
    # The demo makes none of other kinds; if there are any, they are shown for what they are.
    shown += [f"{name:<12}{totals[name]:>12,}  (sign unknown)" for name in sorted(set(totals) - set(SIGNS))]
    return [*shown, f"{'outstanding':<12}{served.outstanding:>12,}  on {len(served.statements):,} accounts"]


def _top(served: Served) -> list[str]:
    shown = []
    for statement in served.largest(TOP_ACCOUNTS):
        kinds = Counter(entry["kind"] for entry in statement.history)
        shown.append(
            f"{statement.account_number:<10}{statement.available:>10,}  "
            f"{kinds['earn']:>4} earns  {kinds['spend']:>4} spends  {len(statement.history):>5} entries"
        )
    return shown


def _requests(run: Run) -> list[str]:
    rate = f"{run.requests / run.seconds:,.0f} a second"
    shown = [
        f"{run.requests:,} requests in {run.seconds:.1f} s: {rate}, {run.callers} at once",
        f"{run.expected.operations:,} operations done, {run.expected.refused:,} refused for lack of points",
        "",
        f"{'':<22}{'requests':>9}{'p50 ms':>10}{'p99 ms':>10}",
    ]
    for name, seconds in sorted(run.measured.seconds.items(), key=lambda item: -len(item[1])):
        p50, p99 = percentile(seconds, 50) * 1000, percentile(seconds, 99) * 1000
        shown.append(f"{name:<22}{len(seconds):>9,}{p50:>10.1f}{p99:>10.1f}")
    if run.measured.asked_again:
        codes = ", ".join(f"{code} {count:,}" for code, count in run.measured.asked_again.most_common())
        shown.append(f"asked again, with the same keys: {codes}")
    machine = f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}"
    software = f"Python {platform.python_version()}; fsync on"
    return [*shown, "", f"Both sides ran on one machine: {machine}, {software}."]


def _switches(run: Run) -> list[str]:
    shown = [f"{'':<30}{'requests':>9}{'p99 ms':>10}{'worst ms':>10}"]
    every = [one.seconds for one in run.measured.sent if not one.met_freeze]
    frozen = [one.seconds for one in run.measured.sent if one.met_freeze]
    if every:
        shown.append(_pause("all of the time", len(every), percentile(every, 99), max(every)))
    shown += [_pause(one.name, one.requests, one.p99_seconds, one.worst_seconds) for one in run.pauses]
    if frozen:
        shown.append(
            _pause("spends, till the freeze ended", len(frozen), percentile(frozen, 99), max(frozen))
        )
    shown += ["", "On the way to the side that followed"]
    for direction, seconds in sorted(run.lags.items()):
        p50, p99, worst = percentile(seconds, 50), percentile(seconds, 99), max(seconds)
        where = direction.replace("_", " the ")
        shown.append(
            f"{where}: {len(seconds):,} operations, p50 {p50:.2f} s, p99 {p99:.2f} s, worst {worst:.2f} s"
        )
    return shown


def _pause(name: str, requests: int, p99_seconds: float, worst_seconds: float) -> str:
    return f"{name:<30}{requests:>9,}{p99_seconds * 1000:>10.0f}{worst_seconds * 1000:>10.0f}"


def _cancels(run: Run) -> list[str]:
    return [
        f"{age:<14} given back in {stage:<14}{count:>4,}"
        for (age, stage), count in run.cancelled.items()
        if count
    ]


def _proofs(proofs: Sequence[Proof]) -> list[str]:
    shown = []
    for proof in proofs:
        shown.append(f"{_VERDICTS[proof.holds]:<8} {proof.sentence}")
        shown.append(f"{'':<8} {proof.figures}")
        shown += [f"{'':<8} - {example}" for example in proof.examples]
    return shown
