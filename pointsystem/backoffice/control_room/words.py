"""What is going on now, in one sentence for people."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from cutover.models import Stage
from cutover.switching import Status


def sentence(status: Status) -> str:
    """Who decides, and what stands out."""
    route = status.route
    if route.is_finished:
        return _("The cutover is finished: the ledger stands alone.")
    said = [_who(route.stage, is_captured=route.capture)]
    if route.is_frozen:
        said.append(_("Spending is stopped by a freeze."))
    backlog = status.backlog
    if backlog.held:
        said.append(
            ngettext(
                "%(count)s account waits until what the earlier side owes it is settled.",
                "%(count)s accounts wait until what the earlier side owes them is settled.",
                backlog.held,
            )
            % {"count": f"{backlog.held:,}"}
        )
    if backlog.parked:
        said.append(
            ngettext(
                "%(count)s message waits for a person.",
                "%(count)s messages wait for a person.",
                backlog.parked,
            )
            % {"count": f"{backlog.parked:,}"}
        )
    elif route.stage in (Stage.LEGACY_FIRST, Stage.NEW_FIRST):
        said.append(_behind(status))
    if status.in_doubt:
        said.append(_("Some operations are in doubt, and only a person can tell what became of them."))
    return " ".join(said)


def _who(stage: Stage, *, is_captured: bool) -> str:
    match stage:
        case Stage.LEGACY_ONLY if is_captured:
            return _("The legacy decides, and what it decides is recorded; nothing is applied yet.")
        case Stage.LEGACY_ONLY:
            return _("The legacy decides, and nothing is recorded yet.")
        case Stage.LEGACY_FIRST:
            return _("The legacy decides, and the ledger follows.")
        case Stage.NEW_FIRST:
            return _("The ledger decides, and the legacy follows.")
        case _:
            return _("The ledger decides; what it decides is only recorded for the legacy.")


def _behind(status: Status) -> str:
    oldest = status.backlog.oldest_seconds
    if not status.backlog.count or oldest is None:
        return _("Both sides are even.")
    return _("The side that follows is %(seconds)s seconds behind.") % {"seconds": f"{oldest:.1f}"}


def way_back(status: Status) -> Any:
    """Where a way back leads, and what it would lose now."""
    route = status.route
    if route.is_finished or status.rollback_loss is None:
        return _("There is no way back.")
    if route.stage is Stage.LEGACY_ONLY:
        return _("This is the first stage: there is nothing to go back to.")
    if not status.rollback_loss:
        return _("One step back is possible at once, and would lose nothing.")
    return ngettext(
        "One step back is possible at once. %(count)s operation of the ledger would not be in the legacy.",
        "One step back is possible at once. %(count)s operations of the ledger would not be in the legacy.",
        status.rollback_loss,
    ) % {"count": f"{status.rollback_loss:,}"}
