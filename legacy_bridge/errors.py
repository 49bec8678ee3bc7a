"""What can become of a call into the legacy: refused, not done for certain, or unknown.

The three are kept apart because what may follow differs: a refusal is an outcome, a call that was
certainly not done may be repeated, and one whose outcome is unknown must be settled by asking the legacy
(docs/adr/0021-giving-an-operation-to-the-legacy.md).
"""

from enum import Enum


class LegacyError(Exception):
    """Base of all. The message is one sentence, and never shown to clients of the API."""


class RefusedFact(Enum):
    """The facts for which a legacy may refuse an operation, in the API's own terms."""

    INSUFFICIENT_POINTS = "insufficient_points"
    EARN_ALREADY_SPENT = "earn_already_spent"
    NOT_CANCELLABLE = "not_cancellable"
    ACCOUNT_BLOCKED = "account_blocked"


class Refused(LegacyError):
    """The legacy decided, and said no. Nothing was changed there."""

    def __init__(self, fact: RefusedFact, message: str) -> None:
        super().__init__(message)
        self.fact = fact


class NotRepresentable(LegacyError):
    """The legacy has no form for what is asked (an expiry of one's own, a gift, a reason)."""


class NotDone(LegacyError):
    """Nothing was changed, for certain: not connected, refused before the call, rolled back."""


class Busy(NotDone):
    """A lock in the legacy was not to be had in time, or as many calls as may be are under way."""


class OutcomeUnknown(LegacyError):
    """The call went out, and no valid answer came back: it may have been done, or still be going on."""


class AnswerInvalid(LegacyError):
    """The legacy answered something that cannot be true: null, negative, text, another account."""
