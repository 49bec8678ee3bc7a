"""What the product says to people of the desk: refusals, and what became of an operation."""

from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from ledger.errors import Refusal
from ledger.told import told

#: One sentence a code: what it means here, and what to do. The refusal's own detail follows it.
SENTENCES: Final[dict[str, Any]] = {
    "insufficient_points": _("The account has too few points. Nothing was taken."),
    "account_blocked": _("The account is blocked or closed. Nothing was moved."),
    "earn_already_spent": _(
        "Points of this earn were spent already, and its reason refuses to take other points instead."
    ),
    "not_cancellable": _("This cannot be cancelled, or not so much of it."),
    "validation_failed": _("This cannot be accepted as it stands."),
    "idempotency_key_reused": _(
        "This form was confirmed before with other values, and did what it said then. Open a new form."
    ),
    "operation_in_progress": _("This is being done right now. Look again in a moment; do not start anew."),
    "operation_not_found": _("There is no such operation or account."),
    "account_busy": _("Something else is being done on this account. Nothing was moved; confirm again."),
    "account_held": _("The account waits for a switch of the deciding side to end. Confirm again later."),
    "spending_frozen": _("Spending is frozen for a short while. Nothing was taken; confirm again later."),
    "primary_unavailable": _("The side that decides does not answer. Nothing was moved; confirm again."),
    "outcome_unknown": _(
        "The side that decides did not say what it did. It is being found out: look at the account in a"
        " moment, and do not start anew. Confirming this form again is safe."
    ),
    "not_available_in_stage": _(
        "The side that decides now has no form for this. It can be done after the cutover."
    ),
    "database_unavailable": _("The database did not answer. Confirming this form again is safe."),
}
_ELSE: Final = _("This was refused.")

#: What a state of an operation means for whoever looks at the account.
STATES: Final[dict[str, Any]] = {
    "pending": _("given to the side that decides, no answer yet"),
    "accepted": _("accepted: it waits in order, and is done soon"),
    "completed": _("done"),
    "failed": _("refused"),
    "in_doubt": _("not known yet whether it was done; it is being found out"),
}

KINDS: Final[dict[str, Any]] = {
    "earn": _("earn"),
    "spend": _("spend"),
    "earn_cancel": _("cancel of an earn"),
    "spend_cancel": _("cancel of a spend"),
    "transfer": _("transfer"),
    "transfer_in": _("received"),
    "transfer_out": _("given away"),
    "adjust": _("adjustment"),
    "expire": _("expired"),
    "clawback": _("taken back"),
}


def refusal_in_words(refusal: Refusal) -> str:
    """What was refused and what to do, for people."""
    return of_code(refusal.code, refusal.detail)


def refusal_to_keep(refusal: Refusal) -> str:
    """The same in English, for a row: `told` says it in the language of whoever reads it."""
    with override("en"):
        return refusal_in_words(refusal)


def of_code(code: str, detail: str) -> str:
    """The same from a refusal as it is kept."""
    return f"{SENTENCES.get(code, _ELSE)} {told(detail)}".strip()
