"""Whose figures these are: while a legacy decides, the ledger has only a copy."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Of one cohort the ledger holds a copy, which may be behind."""

    cohort: str
    #: Who follows it, in words.
    how: str
    #: How far behind it is, in words.
    behind: str


def copies() -> list[Copy]:
    """One for each cohort for which a legacy decides; none where the ledger decides for everybody."""
    if not settings.HAS_LEGACY:
        return []
    from cutover import routes
    from cutover.mirroring import status
    from cutover.models import Direction, Stage

    return [
        Copy(
            cohort=route.cohort,
            how=_("The legacy decides, and the ledger follows.")
            if route.stage is Stage.LEGACY_FIRST
            else _("The legacy decides, and nobody follows."),
            behind=_behind(
                status.backlogs(cohort=route.cohort)[Direction.TO_LEDGER],
                follows=route.stage is Stage.LEGACY_FIRST,
            ),
        )
        for route in routes.everything().values()
        if route.legacy_decides and not route.is_finished
    ]


def _behind(backlog: Any, *, follows: bool) -> str:
    if not follows:
        said = _("The ledger holds what the last migration brought.")
        recorded = backlog.count + backlog.only_recorded
        if recorded:
            said += " " + ngettext(
                "%(count)s operation was recorded since, and is not in these figures.",
                "%(count)s operations were recorded since, and are not in these figures.",
                recorded,
            ) % {"count": f"{recorded:,}"}
        return said
    if not backlog.count:
        return _("Nothing is on its way: all that was told is in these figures.")
    said = ngettext(
        "%(count)s operation is on its way and not in these figures; it is %(age)s old.",
        "%(count)s operations are on their way and not in these figures; the oldest is %(age)s old.",
        backlog.count,
    ) % {"count": f"{backlog.count:,}", "age": _age(backlog.oldest_seconds)}
    if backlog.parked:
        said += " " + ngettext(
            "%(count)s of them waits for a person.", "%(count)s of them wait for a person.", backlog.parked
        ) % {"count": f"{backlog.parked:,}"}
    return said


def _age(seconds: float | None) -> str:
    if seconds is None:
        return _("an unknown time")
    if seconds < 120:
        return ngettext("%(count)s second", "%(count)s seconds", round(seconds)) % {"count": round(seconds)}
    minutes = round(seconds / 60)
    return ngettext("%(count)s minute", "%(count)s minutes", minutes) % {"count": f"{minutes:,}"}
