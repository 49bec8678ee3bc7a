"""What an implementation may not be able to do or to tell: the closed list that cases name."""

from enum import StrEnum
from typing import Final


class Capability(StrEnum):
    """The value is what adapters, tests and reports write."""

    # --- what it may not be able to do: answered 409 `not_available_in_stage` ----------------------------
    EARN_CANCEL = "earn_cancel"
    SPEND_CANCEL = "spend_cancel"
    PARTIAL_CANCEL = "partial_cancel"
    TRANSFER = "transfer"
    EXPIRES_AT = "expires_at"
    EXPIRY_AT_ANY_INSTANT = "expiry_at_any_instant"
    OTHER_REASONS = "other_reasons"
    LONG_ACCOUNT_NUMBERS = "long_account_numbers"
    ACCOUNT_NUMBER_CASE = "account_number_case"
    LARGEST_POINTS = "largest_points"
    PREVIEW = "preview"
    AS_OF = "as_of"
    LOTS = "lots"
    ALL_LOTS = "all_lots"
    HISTORY = "history"
    # --- what it may do in another way that is seen and allowed ------------------------------------------
    CLAWBACK_WITHIN_BALANCE = "clawback_within_balance"
    SOONEST_FIRST = "soonest_first"
    RESTORES_IN_REVERSE = "restores_in_reverse"
    # --- what it may not be able to tell: null in its answers --------------------------------------------
    REPORTS_LOTS = "reports_lots"
    REPORTS_BALANCE_AFTER = "reports_balance_after"
    REPORTS_EXPIRING = "reports_expiring"
    REPORTS_NEXT_EXPIRY = "reports_next_expiry"


MEANINGS: Final[dict[Capability, str]] = {
    Capability.EARN_CANCEL: "an earn can be cancelled",
    Capability.SPEND_CANCEL: "a spend can be cancelled",
    Capability.PARTIAL_CANCEL: "a part of an operation can be cancelled",
    Capability.TRANSFER: "points can be given to another account",
    Capability.EXPIRES_AT: "an earn may say when its points lapse, or that they never do",
    Capability.EXPIRY_AT_ANY_INSTANT: "points may lapse at any instant, and not only where a day ends",
    Capability.OTHER_REASONS: "reasons beside ORDER_REWARD, ORDER_PAYMENT and ORDER_CANCELLED",
    Capability.LONG_ACCOUNT_NUMBERS: "account numbers of 64 characters",
    Capability.ACCOUNT_NUMBER_CASE: "account numbers that differ only in case are two accounts",
    Capability.LARGEST_POINTS: "1,000,000,000 points in one operation",
    Capability.PREVIEW: "a spend can be previewed",
    Capability.AS_OF: "a balance of the past can be read",
    Capability.LOTS: "lots that can be spent are listed",
    Capability.ALL_LOTS: "lots that are used up or lapsed are listed too (`state=all`)",
    Capability.HISTORY: "the entries of an account are listed",
    Capability.CLAWBACK_WITHIN_BALANCE: (
        "an earn that was spent in part can be cancelled; otherwise `earn_already_spent`"
    ),
    Capability.SOONEST_FIRST: "a spend takes what lapses soonest; otherwise what was earned first",
    Capability.RESTORES_IN_REVERSE: "a cancelled spend gives its points back into the lots taken last",
    Capability.REPORTS_LOTS: "`lots` of an operation; otherwise null",
    Capability.REPORTS_BALANCE_AFTER: "`balance_after`; otherwise null",
    Capability.REPORTS_EXPIRING: "`expiring_soon` of a balance; otherwise null",
    Capability.REPORTS_NEXT_EXPIRY: "`next_expiry` of a balance; otherwise null",
}

#: Only told or not: a case is never unavailable for these.
REPORTS: Final = frozenset(
    {
        Capability.REPORTS_LOTS,
        Capability.REPORTS_BALANCE_AFTER,
        Capability.REPORTS_EXPIRING,
        Capability.REPORTS_NEXT_EXPIRY,
    }
)
