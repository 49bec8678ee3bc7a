"""What a client is told when the legacy refuses: its fact in the API's words, never the legacy's own."""

from typing import Final

import structlog

from ledger.errors import AccountBlocked, EarnAlreadySpent, InsufficientPoints, NotCancellable, Refusal
from legacy_bridge.errors import Refused, RefusedFact

log = structlog.get_logger(__name__)

_REFUSALS: Final[dict[RefusedFact, type[Refusal]]] = {
    RefusedFact.INSUFFICIENT_POINTS: InsufficientPoints,
    RefusedFact.EARN_ALREADY_SPENT: EarnAlreadySpent,
    RefusedFact.NOT_CANCELLABLE: NotCancellable,
    RefusedFact.ACCOUNT_BLOCKED: AccountBlocked,
}
_SENTENCES: Final = {
    RefusedFact.INSUFFICIENT_POINTS: "Not enough points are available.",
    RefusedFact.EARN_ALREADY_SPENT: "Points of this earn were spent already.",
    RefusedFact.NOT_CANCELLABLE: "No more of the operation can be cancelled.",
    RefusedFact.ACCOUNT_BLOCKED: "The account is blocked.",
}


def refusal_of(refused: Refused) -> Refusal:
    """The refusal that the API knows; the legacy's own words stay in the log."""
    log.info("legacy_refused", fact=refused.fact.value, words=str(refused))
    return _REFUSALS[refused.fact](_SENTENCES[refused.fact])
