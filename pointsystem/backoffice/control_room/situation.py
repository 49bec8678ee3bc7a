"""Everything that the control room shows, read at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from cutover import callers, callers_report, doubts, routes, shadowing, switching
from cutover.mirroring import handling
from cutover.mirroring import status as mirroring
from cutover.models import Direction, FoundBy, JournalEntry, Mismatch, Run, RunKind, Stage
from cutover.switching import Plan, Status
from ledger import clock
from pointsystem.backoffice.control_room.flows import Sides, applied_charts, decided

SHOWN_ENTRIES: Final = 15
SHOWN_PARKED: Final = 10
SHOWN_DOUBTS: Final = 10
CALLERS_SINCE_DAYS: Final = 2

_STAGES: Final = (
    (Stage.LEGACY_ONLY, _("The legacy decides. Nobody follows.")),
    (Stage.LEGACY_FIRST, _("The legacy decides. The ledger follows.")),
    (Stage.NEW_FIRST, _("The ledger decides. The legacy follows.")),
    (Stage.NEW_ONLY, _("The ledger decides. The legacy is told nothing any more.")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlace:
    """A stage on the line."""

    name: str
    does: Any
    #: `past`, `now` or `ahead`.
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Messages of one way: what waits, and what was applied in the last minute."""

    title: Any
    backlog: mirroring.Backlog
    applied: mirroring.Flow
    chart: Any

    @property
    def seconds_to_drain(self) -> float | None:
        """How long the backlog lasts at this pace; None where that is not known."""
        if not self.backlog.count:
            return 0.0
        if not self.applied.applied_per_second:
            return None
        return self.backlog.count / self.applied.applied_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShown:
    """A long piece of work, how far it came."""

    run: Run

    @property
    def title(self) -> Any:
        return RunKind(self.run.kind).label

    @property
    def percent(self) -> int | None:
        if self.run.finished_at is not None:
            return 100
        if not self.run.accounts_total:
            return None
        return min(100, round(100 * self.run.accounts_done / self.run.accounts_total))

    @property
    def time_left(self) -> timedelta | None:
        run = self.run
        if run.finished_at is not None or not run.accounts_total or not run.accounts_done:
            return None
        passed = (run.changed_at - run.started_at).total_seconds()
        left = max(0, run.accounts_total - run.accounts_done)
        return timedelta(seconds=round(passed / run.accounts_done * left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Open mismatches of one class."""

    title: Any
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthDifference:
    """A monthly total that both sides say differently."""

    subject: str
    legacy: Any
    ledger: Any
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    status: Status
    cohorts: Sequence[str]
    stages: Sequence[StagePlace]
    plan: Plan | None
    frozen_seconds: int | None
    flows: Sequence[Flow]
    sides: Sides
    parked: Sequence[handling.Message]
    doubts: Sequence[doubts.Doubt]
    runs: Sequence[RunShown]
    never_run: Sequence[Any]
    differences: Sequence[Difference]
    months: Sequence[MonthDifference]
    shadow_open: int
    shadow: shadowing.Counted
    callers: callers_report.Report
    journal: Sequence[JournalEntry]
    read_at: datetime


def read(*, cohort: str) -> Situation:
    """Raises UnknownCohort and DatabaseError."""
    status = switching.status(cohort=cohort)
    lately = callers.today(clock.now()) - timedelta(days=CALLERS_SINCE_DAYS - 1)
    route = status.route
    backlogs, applied = mirroring.backlogs(cohort=cohort), mirroring.flows(cohort=cohort)
    charts = applied_charts(cohort=cohort)
    latest = [Run.objects.filter(kind=kind).order_by("-id").first() for kind in RunKind]
    return Situation(
        status=status,
        cohorts=sorted(routes.everything()),
        stages=_stages(route.stage),
        plan=None if route.is_finished else switching.plan(cohort=cohort),
        frozen_seconds=_seconds_until(route.freeze_until) if route.is_frozen else None,
        flows=[
            Flow(
                title=direction.label,
                backlog=backlogs[direction],
                applied=applied[direction],
                chart=charts[direction],
            )
            for direction in Direction
        ],
        sides=decided(),
        parked=handling.parked(limit=SHOWN_PARKED),
        doubts=doubts.waiting()[:SHOWN_DOUBTS],
        runs=[RunShown(run=run) for run in latest if run is not None],
        never_run=[kind.label for kind, run in zip(RunKind, latest, strict=True) if run is None],
        differences=_differences(),
        months=_months(),
        shadow_open=Mismatch.objects.filter(resolved_at__isnull=True, found_by=FoundBy.SHADOW).count(),
        shadow=shadowing.counted(since=lately),
        callers=callers_report.report(since=lately),
        journal=switching.entries(cohort=cohort, limit=SHOWN_ENTRIES),
        read_at=timezone.now(),
    )


def _stages(now: Stage) -> list[StagePlace]:
    order = [stage for stage, _does in _STAGES]
    here = order.index(now)
    return [
        StagePlace(
            name=stage.value,
            does=does,
            place="now" if place == here else "past" if place < here else "ahead",
        )
        for place, (stage, does) in enumerate(_STAGES)
    ]


def _seconds_until(instant: datetime | None) -> int | None:
    return None if instant is None else max(0, round((instant - timezone.now()).total_seconds()))


def _differences() -> list[Difference]:
    from cutover.models import Difference as Class

    counts = dict(
        Mismatch.objects.filter(resolved_at__isnull=True)
        .values_list("difference")
        .annotate(count=Count("id"))
        .order_by()
    )
    return [Difference(title=each.label, count=counts.get(each.value, 0)) for each in Class]


def _months() -> list[MonthDifference]:
    found = Mismatch.objects.filter(resolved_at__isnull=True, found_by=FoundBy.RECONCILE)
    return [
        MonthDifference(
            subject=row.subject.removeprefix("month:"),
            legacy=row.said.get("legacy"),
            ledger=row.said.get("ledger"),
            why=row.why,
        )
        for row in found.order_by("-subject")[:12]
    ]
