"""A migration that workers do: started once, by the control room, and carried on by beat until it is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cutover.migrating import running, runs
from cutover.migrating.runs import Progress, RunIsHeld
from cutover.models import RunKind
from legacy_bridge import configured, sessions

#: A task ends before its message would come back to another worker.
SLICE_SECONDS: Final = 240.0
_MINUTES_AN_HOUR: Final = 60


class WindowInvalid(Exception):
    """A window is 1 to 60 minutes of each hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What was migrated, for people: the run of each kind that is open, or the last that was."""

    migration: Progress | None
    delta: Progress | None

    @property
    def is_migrated(self) -> bool:
        return self.migration is not None and self.migration.finished_at is not None


def start(
    *, actor: str, is_delta: bool = False, is_full: bool = False, window_minutes: int | None = None
) -> Progress:
    """Have workers migrate from now on, or in the first `window_minutes` of each hour; the run that is open.

    Raises NoHistory, WindowInvalid, LegacyError.
    """
    if window_minutes is not None and not 1 <= window_minutes <= _MINUTES_AN_HOUR:
        raise WindowInvalid(f"A window has 1 to {_MINUTES_AN_HOUR} minutes.")
    kind = RunKind.DELTA if is_delta else RunKind.MIGRATION
    with sessions.session() as session:
        parameters, total = running.describe(kind, configured.adapter(), session, is_full=is_full)
    asked: Mapping[str, Any] = {
        **parameters,
        "actor": actor,
        "is_of_workers": True,
        "window_minutes": window_minutes,
    }
    runs.begin(kind, parameters=asked, accounts_total=total)
    found = runs.latest(kind)
    if found is None:
        raise AssertionError("a run that was begun is not there")
    return found


def progress() -> Overview:
    """How far migration and delta are."""
    return Overview(migration=runs.latest(RunKind.MIGRATION), delta=runs.latest(RunKind.DELTA))


def carry_on(*, now: datetime | None = None) -> int:
    """Go on for a while with what workers were asked to do, within its window; rows that were brought.

    Raises what `running.run` raises but RunIsHeld: then somebody else goes on with it.
    """
    now = now or datetime.now(UTC)
    brought = 0
    for kind in (RunKind.MIGRATION, RunKind.DELTA):
        open_run = runs.latest(kind)
        if open_run is None or open_run.finished_at is not None or open_run.is_held:
            continue
        if not open_run.parameters.get("is_of_workers"):
            continue
        seconds = min(SLICE_SECONDS, _seconds_left(open_run.parameters.get("window_minutes"), now=now))
        if seconds <= 0:
            continue
        try:
            done = running.run(is_delta=kind is RunKind.DELTA, seconds=seconds)
        except RunIsHeld:
            continue
        brought += done.rows_done - open_run.rows_done
    return brought


def _seconds_left(window_minutes: int | None, *, now: datetime) -> float:
    if window_minutes is None:
        return SLICE_SECONDS
    return window_minutes * 60.0 - (now.minute * 60.0 + now.second)
