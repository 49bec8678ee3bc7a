"""Who decides for an account now: what the pages can tell depends on it, and how a move is rehearsed."""

from typing import Final

from django.conf import settings
from django.db import IntegrityError
from django.utils.translation import gettext as _

from ledger import face as ledger
from ledger.commands import Cancel, Command
from ledger.database import violated_constraint
from ledger.errors import (
    AccountHeld,
    EarnAlreadySpent,
    NotAvailableInStage,
    Refusal,
    SpendingFrozen,
)
from ledger.records import Outcome

#: What the database refuses a decision of the ledger by, under a cutover.
_FENCE: Final[dict[str, type[Refusal]]] = {
    "route_lets_ledger_decide": AccountHeld,
    "account_is_not_held": AccountHeld,
    "route_is_not_frozen": SpendingFrozen,
    "legacy_can_represent": NotAvailableInStage,
}


def _has_cutover() -> bool:
    """Without a legacy the cutover may not be installed at all."""
    return bool(settings.POINTS_FACE == "cutover.face")


def legacy_decides(*, account_number: str) -> bool:
    """Whether another side than the ledger is asked about this account. A hint, as for all reading."""
    if not _has_cutover():
        return False
    from cutover import deciding

    return deciding.legacy_answers(account_number)


def decide_by_ledger(command: Command) -> Outcome:
    """Have the ledger decide, as it would for the face, in a transaction that the caller rolls back.

    Nothing is ever given to another side by it. Raises the refusals of `face().execute`.
    """
    if not _has_cutover():
        return ledger.execute(command)
    from cutover import deciding, wrapped

    try:
        return deciding.by_ledger(command)
    except wrapped.Later as later:
        raise later.refusal from later
    except deciding.LedgerDoesNotDecide as error:
        raise AccountHeld(_("The side that decides is being switched.")) from error
    except IntegrityError as error:
        refused = _FENCE.get(violated_constraint(error) or "")
        if refused is None:
            raise
        if refused is NotAvailableInStage and isinstance(command, Cancel):
            raise EarnAlreadySpent(_("Points of this earn were spent already.")) from error
        raise refused(_("This cannot be done at this moment of the cutover.")) from error
