"""The preflight: what must be so before a stage is gone to, each check by name, with a number and a sentence.

What is not known is red, with None for the number. Some checks can be overridden with a reason; the others
stand for points that would be lost, or for what the database refuses in any case.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from cutover import callers, callers_report, shadowing, verifying
from cutover.mirroring import tail
from cutover.models import Difference, FoundBy, JournalEntry, Mismatch, Run, RunKind, Stage
from cutover.routes import CurrentRoute
from cutover.switching import journal, machines
from cutover.switching import status as figures
from ledger import clock
from legacy_bridge import configured, errors, sessions
from legacy_bridge.adapter import Feature

#: What `finish` is checked for.
FINISH: Final = "FINISH"

MOST_WAITING: Final = 100
OLDEST_WAITING_SECONDS: Final = 10.0
TAIL_AT_MOST_SECONDS: Final = 30.0
VERIFIED_AT_MOST_HOURS: Final = 24.0
CALLERS_SINCE_DAYS: Final = 2
SHADOW_SINCE_DAYS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    is_green: bool
    #: What was counted or measured; None: not known.
    number: float | None
    sentence: str
    can_be_overridden: bool

    def as_record(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "is_green": self.is_green,
            "number": self.number,
            "sentence": self.sentence,
            "can_be_overridden": self.can_be_overridden,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    is_green: bool
    number: float | None
    sentence: str


def preflight(route: CurrentRoute, target: str) -> list[Check]:
    """Every check that matters before `route` goes to `target`: a stage, or FINISH."""
    checks = []
    for name in _BEFORE[target]:
        ask, can_be_overridden = _CHECKS[name]
        found = ask(route)
        checks.append(
            Check(
                name=name,
                is_green=found.is_green,
                number=found.number,
                sentence=found.sentence,
                can_be_overridden=can_be_overridden,
            )
        )
    return checks


def red(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if not check.is_green]


# --- the route ----------------------------------------------------------------------------------------------
def _capture(route: CurrentRoute) -> _Found:
    if route.capture:
        return _Found(is_green=True, number=1, sentence="What the legacy decides is captured.")
    return _Found(is_green=False, number=0, sentence="Nothing is captured. Switch capture on first.")


def _older_intents(route: CurrentRoute) -> _Found:
    count = figures.older_intents(route)
    sentence = (
        f"{count} operations from before the last change of the route are not settled."
        if count
        else "All operations from before the last change of the route are settled."
    )
    return _Found(is_green=count == 0, number=count, sentence=sentence)


# --- the move of the history ------------------------------------------------------------------------------
def _migration(route: CurrentRoute) -> _Found:
    run = _last_run(RunKind.MIGRATION)
    if run is None:
        return _Found(is_green=False, number=None, sentence="The history was never moved.")
    if run.finished_at is None or run.last_error:
        return _Found(is_green=False, number=run.accounts_done, sentence=_not_done(run))
    return _Found(
        is_green=True,
        number=run.accounts_done,
        sentence=f"The history of {run.accounts_done:,} accounts is moved.",
    )


def _delta(route: CurrentRoute) -> _Found:
    since = (
        JournalEntry.objects.filter(cohort=route.cohort, action="capture_on", result=journal.DONE)
        .order_by("-id")
        .first()
    )
    if since is None:
        return _Found(
            is_green=False,
            number=None,
            sentence="Since when everything was captured is not known: the journal does not say.",
        )
    run = (
        Run.objects.filter(
            kind__in=[RunKind.MIGRATION, RunKind.DELTA],
            started_at__gte=since.at,
            finished_at__isnull=False,
            last_error="",
        )
        .order_by("-finished_at")
        .first()
    )
    if run is None or run.finished_at is None:
        return _Found(
            is_green=False,
            number=None,
            sentence="No move of the history or delta has begun and ended since capture is on"
            f" ({since.at:%Y-%m-%d %H:%M} UTC).",
        )
    hours = _hours_since(run.finished_at)
    return _Found(
        is_green=True,
        number=round(hours, 2),
        sentence=f"The last {run.kind} began after capture was switched on, and ended {hours:.1f} hours ago.",
    )


def _verification(route: CurrentRoute) -> _Found:
    result = verifying.last_result()
    if result is None:
        return _Found(is_green=False, number=None, sentence="Both sides were never compared to the end.")
    hours = _hours_since(result.finished_at)
    most = f"{VERIFIED_AT_MOST_HOURS:.0f}"
    if result.is_sample:
        sentence = (
            f"A sample of the accounts was last compared {hours:.1f} hours ago (at most {most} hours and all"
            " accounts are asked for)."
        )
    else:
        sentence = (
            f"All accounts were last compared {hours:.1f} hours ago (at most {most} hours and all accounts"
            " are asked for)."
        )
    return _Found(
        is_green=hours <= VERIFIED_AT_MOST_HOURS and not result.is_sample,
        number=round(hours, 2),
        sentence=sentence,
    )


def _mismatches(route: CurrentRoute) -> _Found:
    return _open_mismatches(
        "{} real mismatches are open.", "No real mismatches are open.", difference=Difference.REAL
    )


def _shadow(route: CurrentRoute) -> _Found:
    since = callers.today(clock.now()) - timedelta(days=SHADOW_SINCE_DAYS - 1)
    if not shadowing.counted(since=since).compared:
        return _Found(
            is_green=False, number=None, sentence=f"No read was compared in {SHADOW_SINCE_DAYS} days."
        )
    return _open_mismatches(
        "{} reads differed in the shadow compare and are open.",
        "No reads differed in the shadow compare and are open.",
        found_by=FoundBy.SHADOW,
    )


def _month(route: CurrentRoute) -> _Found:
    result = verifying.last_result()
    if result is None or result.is_sample:
        return _Found(
            is_green=False, number=None, sentence="The last verification did not compare the months."
        )
    return _open_mismatches(
        "{} differences of monthly totals are open.",
        "No differences of monthly totals are open.",
        found_by=FoundBy.RECONCILE,
    )


def _open_mismatches(some: str, none: str, **of: Any) -> _Found:
    return _none_of(Mismatch.objects.filter(resolved_at__isnull=True, **of).count(), some, none)


def _none_of(count: int, some: str, none: str) -> _Found:
    """Green where there is none; each number has a sentence that stands whole here, for translators."""
    return _Found(is_green=count == 0, number=count, sentence=some.format(count) if count else none)


# --- what is on its way --------------------------------------------------------------------------------
def _backlog(route: CurrentRoute) -> _Found:
    found = figures.backlog(route)
    oldest = found.oldest_seconds or 0.0
    is_small = found.count <= MOST_WAITING and oldest <= OLDEST_WAITING_SECONDS
    sentence = (
        f"{found.count:,} messages wait, the oldest for {oldest:.1f} seconds."
        if found.count
        else "No message waits."
    )
    return _Found(is_green=is_small, number=found.count, sentence=sentence)


def _parked(route: CurrentRoute) -> _Found:
    return _none_of(figures.backlog(route).parked, "{} messages are parked.", "No messages are parked.")


def _held(route: CurrentRoute) -> _Found:
    return _none_of(figures.held(route), "{} accounts are held.", "No accounts are held.")


def _in_doubt(route: CurrentRoute) -> _Found:
    return _none_of(figures.in_doubt(route), "{} operations are in doubt.", "No operations are in doubt.")


# --- the legacy ---------------------------------------------------------------------------------------------
def _direct_callers(route: CurrentRoute) -> _Found:
    since = callers.today(clock.now()) - timedelta(days=CALLERS_SINCE_DAYS - 1)
    found = callers_report.report(since=since)
    if found.scan is None or not found.reaches_back:
        return _Found(is_green=False, number=None, sentence="Who calls procedures directly is not known.")
    rows = sum(line.rows for line in found.direct)
    names = sorted({line.caller or line.procedure or "?" for line in found.direct})
    sentence = (
        f"{rows:,} rows in {CALLERS_SINCE_DAYS} days came past the API, by {', '.join(names[:5])}."
        if rows
        else f"Nobody called a procedure directly in {CALLERS_SINCE_DAYS} days."
    )
    return _Found(is_green=rows == 0, number=rows, sentence=sentence)


def _tail(route: CurrentRoute) -> _Found:
    seconds = tail.freshness_seconds()
    if seconds is None:
        return _Found(
            is_green=False, number=None, sentence="The end of the legacy's history was never reached."
        )
    return _Found(
        is_green=seconds <= TAIL_AT_MOST_SECONDS,
        number=round(seconds, 1),
        sentence=f"The end of the legacy's history was reached {seconds:.1f} seconds ago.",
    )


def _legacy(route: CurrentRoute) -> _Found:
    began_at = time.monotonic()
    try:
        with sessions.session() as session:
            session.query("SELECT 1")
    except errors.LegacyError as error:
        return _Found(is_green=False, number=None, sentence=f"The legacy does not answer: {str(error)[:200]}")
    milliseconds = round((time.monotonic() - began_at) * 1000, 1)
    return _Found(is_green=True, number=milliseconds, sentence=f"The legacy answers in {milliseconds} ms.")


def _adapter(route: CurrentRoute) -> _Found:
    if Feature.HISTORY in configured.adapter().features:
        return _Found(is_green=True, number=1, sentence="The adapter lists the legacy's history.")
    return _Found(
        is_green=False,
        number=0,
        sentence="The adapter does not list the legacy's history: it cannot be followed.",
    )


# --- the machines -------------------------------------------------------------------------------------------
def _workers_alive(route: CurrentRoute) -> _Found:
    count = machines.workers_of_mirror()
    if count is None:
        return _Found(is_green=False, number=None, sentence="The broker does not answer.")
    sentence = (
        f"Workers that take from the queue {machines.QUEUE}: {count}."
        if count
        else f"No worker takes from {machines.QUEUE}."
    )
    return _Found(is_green=count > 0, number=count, sentence=sentence)


def _redis(route: CurrentRoute) -> _Found:
    milliseconds = machines.redis_milliseconds()
    if milliseconds is None:
        return _Found(is_green=False, number=None, sentence="Redis does not answer.")
    return _Found(is_green=True, number=milliseconds, sentence=f"Redis answers in {milliseconds} ms.")


def _last_run(kind: RunKind) -> Run | None:
    return Run.objects.filter(kind=kind).order_by("-id").first()


def _hours_since(instant: datetime) -> float:
    """By the machines' clock, which runs are kept by, also where the business clock is simulated."""
    return (timezone.now() - instant).total_seconds() / 3600


def _not_done(run: Run) -> str:
    of = "an unknown number" if run.accounts_total is None else f"{run.accounts_total:,}"
    error = run.last_error[:200]
    if error:
        return f"The move of the history is not done: {run.accounts_done:,} of {of} accounts; {error}."
    return f"The move of the history is not done: {run.accounts_done:,} of {of} accounts."


#: By name: what is asked, and whether a red answer can be overridden with a reason.
_CHECKS: Final[dict[str, tuple[Callable[[CurrentRoute], _Found], bool]]] = {
    "capture_is_on": (_capture, False),
    "older_intents_are_settled": (_older_intents, True),
    "migration_is_complete": (_migration, False),
    "delta_is_recent": (_delta, False),
    "verification_is_recent": (_verification, True),
    "no_real_mismatches": (_mismatches, True),
    "shadow_compare_agrees": (_shadow, True),
    "month_agrees": (_month, True),
    "backlog_is_small": (_backlog, True),
    "nothing_is_parked": (_parked, True),
    "no_account_is_held": (_held, False),
    "nothing_is_in_doubt": (_in_doubt, True),
    "nobody_calls_procedures_directly": (_direct_callers, True),
    "tail_is_fresh": (_tail, True),
    "legacy_answers": (_legacy, False),
    "adapter_can_follow": (_adapter, False),
    "workers_are_alive": (_workers_alive, True),
    "redis_is_up": (_redis, True),
}
_MACHINES: Final = ("legacy_answers", "workers_are_alive", "redis_is_up")
_BEFORE: Final[dict[str, tuple[str, ...]]] = {
    Stage.LEGACY_ONLY: (),
    Stage.LEGACY_FIRST: (
        "capture_is_on",
        "adapter_can_follow",
        "older_intents_are_settled",
        "migration_is_complete",
        "delta_is_recent",
        "nothing_is_in_doubt",
        *_MACHINES,
    ),
    Stage.NEW_FIRST: (
        "capture_is_on",
        "adapter_can_follow",
        "verification_is_recent",
        "no_real_mismatches",
        "shadow_compare_agrees",
        "backlog_is_small",
        "nothing_is_parked",
        "nothing_is_in_doubt",
        "nobody_calls_procedures_directly",
        "tail_is_fresh",
        *_MACHINES,
    ),
    Stage.NEW_ONLY: (
        "verification_is_recent",
        "no_real_mismatches",
        "shadow_compare_agrees",
        "month_agrees",
        "backlog_is_small",
        "nothing_is_parked",
        "nothing_is_in_doubt",
        "nobody_calls_procedures_directly",
        *_MACHINES,
    ),
    FINISH: (
        "no_account_is_held",
        "nothing_is_in_doubt",
        "no_real_mismatches",
        "month_agrees",
        "redis_is_up",
    ),
}
